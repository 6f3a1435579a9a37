"""People enrolled in batches, many at once, each photograph once, however often the work is interrupted."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Literal, Protocol

from service.bulk.files import read_photograph, spell_path
from service.bulk.people import Person
from service.bulk.record import Outcome, Record
from service.bulk.window import run_in_window

PER_BATCH = 8
"""Photographs of one person in a request: their commit is shared."""
BATCH_BYTES = 8 * 1024 * 1024


@dataclass(frozen=True, slots=True)
class Choices:
    """What is asked of every enrolment, as the route's fields say it."""

    collection: str = "default"
    faces: Literal["single", "prominent"] = "single"
    quality: Literal["enforce", "report"] | None = None
    duplicate: Literal["allow", "warn", "reject"] = "allow"
    model: str | None = None

    def fields(self) -> dict[str, str | None]:
        """The fields of a request."""
        return asdict(self)


@dataclass(frozen=True, slots=True)
class Batch:
    """Photographs of one person, to be enrolled in one request: their bytes, and the key that names the request."""

    person: Person
    images: tuple[bytes, ...]
    key: str


@dataclass(frozen=True, slots=True)
class Verdict:
    """What became of one photograph: the id of its face, or why it was refused, or both where it gave a warning."""

    face_id: str | None
    code: str | None = None
    detail: str | None = None
    reasons: tuple[str, ...] = ()

    @classmethod
    def enrolled(cls, face_id: str, others: Sequence[tuple[str, float]]) -> Verdict:
        """Say that it is enrolled, and who else has this face, with scores."""
        if not others:
            return cls(face_id)
        names = ", ".join(f"{name} ({score:.3f})" for name, score in others)
        return cls(face_id, "duplicate_subject", f"enrolled; this face is also that of {names}")


class Enroller(Protocol):
    """Where people are enrolled: a running service, or a store."""

    target: str
    """What a record calls it."""

    def enroll(self, batch: Batch) -> Sequence[Verdict]:
        """Enrol a batch; returns a verdict for each photograph.

        Raises:
            FacetError: Nothing more can be enrolled.
        """
        ...


@dataclass(frozen=True, slots=True)
class Portion:
    """Files of one person that go into one batch."""

    person: Person
    files: tuple[Path, ...]


def divide(people: Iterable[Person]) -> list[Portion]:
    """Divide everybody's photographs into batches, alike on each run, by number and size of the files."""
    portions = []
    for person in people:
        own: list[Path] = []
        size = 0
        for file in person.photographs:
            length = file.stat().st_size if file.is_file() else 0
            if own and (len(own) == PER_BATCH or size + length > BATCH_BYTES):
                portions.append(Portion(person, tuple(own)))
                own, size = [], 0
            own.append(file)
            size += length
        portions.append(Portion(person, tuple(own)))
    return portions


def enroll_all(
    portions: Sequence[Portion],
    enroller: Enroller,
    record: Record,
    parallel: int,
    choices: Choices,
    retry_refused: bool = False,
    progress: Callable[[int], None] = lambda _: None,
) -> Iterator[Outcome]:
    """Enrol all portions, `parallel` at once, and yield what became of each photograph, in order.

    What the record says is enrolled is passed over, and so is what was refused, unless `retry_refused`. A batch is
    noted in the record as soon as it is answered. One that was answered and not noted is named by the same key on the
    next run, so that nothing is enrolled twice.

    Args:
        portions: What to enrol.
        enroller: Where.
        record: Of what is done.
        parallel: Batches at once.
        choices: What is asked of the enroller, a part of each batch's key.
        retry_refused: Whether to send again what was refused.
        progress: Is told how many photographs were gone through, on any thread.

    Raises:
        FacetError: Nothing more can be enrolled. The record has what was done until then.
    """

    def enroll(portion: Portion) -> list[Outcome]:
        outcomes, waiting, images = _sort_out(portion, record, retry_refused)
        if waiting:
            batch = Batch(portion.person, tuple(images), _key_of(portion.person, images, enroller.target, choices))
            verdicts = enroller.enroll(batch)
            done = [
                replace(
                    each,
                    state="refused" if verdict.face_id is None else "enrolled",
                    face_id=verdict.face_id,
                    code=verdict.code,
                    detail=verdict.detail,
                    reasons=verdict.reasons,
                )
                for each, verdict in zip(waiting, verdicts, strict=True)
            ]
            record.note(done)
            outcomes += done
        progress(len(portion.files))
        places = {spell_path(file): place for place, file in enumerate(portion.files)}
        return sorted(outcomes, key=lambda each: places[each.file])

    for outcomes in run_in_window(enroll, portions, parallel):
        yield from outcomes


def _sort_out(
    portion: Portion, record: Record, retry_refused: bool
) -> tuple[list[Outcome], list[Outcome], list[bytes]]:
    """Tell what needs no sending from what does: outcomes that are known, and those to come with their images."""
    known, waiting, images = [], [], []
    sent: set[str] = set()
    for file in portion.files:
        here = Outcome(portion.person.name, spell_path(file))
        try:
            content = read_photograph(file)
        except OSError as error:
            known.append(replace(here, state="unreadable", code="file_unreadable", detail=error.strerror or str(error)))
            continue
        here = replace(here, sha256=hashlib.sha256(content).hexdigest())
        earlier = record.find(here.person, here.sha256)
        if earlier is not None and (earlier.state == "enrolled" or not retry_refused):
            known.append(replace(earlier, file=here.file, earlier=True))
        elif here.sha256 in sent:
            known.append(replace(here, state="refused", code="file_repeated", detail="a copy of a file beside it"))
        else:
            sent.add(here.sha256)
            waiting.append(here)
            images.append(content)
    return known, waiting, images


def _key_of(person: Person, images: Sequence[bytes], target: str, choices: Choices) -> str:
    """The idempotency key: another request has another one."""
    digests = [hashlib.sha256(image).hexdigest() for image in images]
    expiry = None if person.expires_at is None else person.expires_at.isoformat()
    text = json.dumps([target, person.name, dict(person.metadata), expiry, digests, choices.fields()], sort_keys=True)
    return hashlib.sha256(text.encode()).hexdigest()
