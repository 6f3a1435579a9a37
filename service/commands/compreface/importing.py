"""People of CompreFace become people of a collection: their pictures are looked at anew, by our models."""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import partial

from pydantic import TypeAdapter, ValidationError

from service.api.schemas.requests import Name
from service.commands.compreface.source import Example, Source
from service.decision import OperatingPoint
from service.engine.engine import Engine
from service.engine.results import EnrolmentRefused
from service.errors import FacetError
from service.face.embedding.embed import Embedder
from service.gallery.changes import subjects
from service.gallery.errors import NameInvalid, SubjectExists
from service.runtime.timing import Stages

NAME: TypeAdapter[str] = TypeAdapter(Name)


@dataclass(frozen=True, slots=True)
class Refusal:
    """A face that was not imported: its id in CompreFace, whose it is, and why."""

    image_id: str
    subject: str
    code: str
    reason: str


@dataclass(slots=True)
class ImportReport:
    """What became of everything that was read."""

    subjects: int = 0
    """Of the source."""
    imported: int = 0
    present: int = 0
    """Faces whose picture the subject had already, of an earlier run."""
    without_image: list[Example] = field(default_factory=list)
    """Faces of which CompreFace kept no picture: its embeddings are of another model, and of no use here."""
    refused: list[Refusal] = field(default_factory=list)
    names: list[str] = field(default_factory=list)
    """Subjects that cannot have their name here."""

    @property
    def read(self) -> int:
        """Faces that were read."""
        return self.imported + self.present + len(self.without_image) + len(self.refused)

    def as_json(self) -> dict[str, object]:
        """Plain values."""
        return {
            "subjects": self.subjects,
            "faces": self.read,
            "imported": self.imported,
            "already_there": self.present,
            "without_image": [{"image_id": each.image_id, "subject": each.subject} for each in self.without_image],
            "refused": [
                {"image_id": each.image_id, "subject": each.subject, "code": each.code, "reason": each.reason}
                for each in self.refused
            ],
            "names_refused": self.names,
        }


class Importer:
    """Imports one source into one collection, which must exist. Run again it goes on: no picture is enrolled twice."""

    def __init__(self, engine: Engine, embedder: Embedder, collection: str, enforce: bool) -> None:
        """With `enforce` faces that are unfit for comparison are refused."""
        self._engine, self._embedder, self._collection = engine, embedder, collection
        self._enforce = enforce
        self._pictures: dict[str, set[str]] = {}

    def run(self, source: Source, report: ImportReport, progress: Callable[[], None]) -> None:
        """Import every subject and every face; `report` tells at any moment what became of those before.

        Raises: SourceInvalid, StorageError.
        """
        for name in source.subjects():
            report.subjects += 1
            if not self._make(name):
                report.names.append(name)
        for example in source.examples():
            self._take(example, report)
            progress()

    def _make(self, name: str) -> bool:
        """Make a subject, if it is not there; says whether it can have its name."""
        try:
            self._engine.gallery.database.change(
                partial(subjects.create_subject, collection=self._collection, name=NAME.validate_python(name))
            )
        except SubjectExists:
            return True
        except (ValidationError, NameInvalid):
            return False
        return True

    def _take(self, example: Example, report: ImportReport) -> None:
        if example.image is None:
            report.without_image.append(example)
            return
        digest = hashlib.sha256(example.image).hexdigest()
        try:
            subject = NAME.validate_python(example.subject)
            if digest in self._known(subject):
                report.present += 1
                return
            self._engine.enroll(
                self._collection,
                subject,
                [example.image],
                self._embedder,
                OperatingPoint(),
                Stages(lambda: False),
                quality="enforce" if self._enforce else "report",
            )
        except ValidationError:
            report.refused.append(_refusal(example, NameInvalid("subject")))
        except EnrolmentRefused as error:
            report.refused.append(_refusal(example, error.images[0].error or error))
        else:
            self._known(subject).add(digest)
            report.imported += 1

    def _known(self, subject: str) -> set[str]:
        """Digests of the pictures that a subject has faces of."""
        if subject not in self._pictures:
            digests: set[str] = set()
            cursor: str | None = None
            while True:
                page = self._engine.gallery.faces(self._collection, subject, cursor, 1000)
                digests.update(face.source_sha256 for face in page.items)
                cursor = page.next_cursor
                if cursor is None:
                    break
            self._pictures[subject] = digests
        return self._pictures[subject]


def _refusal(example: Example, error: FacetError) -> Refusal:
    return Refusal(example.image_id, example.subject, error.code, str(error))
