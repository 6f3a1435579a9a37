"""A gallery out into an archive, subject by subject; an export that was interrupted goes on."""

from __future__ import annotations

import base64
import itertools
from collections import defaultdict
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any

import sqlalchemy as sa

from service.database.encryption import Keyring, crop_place
from service.database.schema import collections, crops, faces, models, new_id, subjects, templates
from service.database.template_seal import STORED
from service.database.transaction import storage_errors
from service.gallery.archive.blocks import template_of
from service.gallery.archive.format import NO_KEYS, ArchiveWriter, Block, read_blocks
from service.gallery.archive.signature import SigningKeys
from service.gallery.errors import ArchiveInvalid, CollectionNotFound
from service.index import source, vectors
from service.index.stored_templates import TemplateReader

BLOCK = 200
"""Subjects in a block: one transaction at the import."""
FACES = 2000
"""Faces in a block of several subjects: with crops they take 100 MiB, and a block beyond 1 GiB cannot be read again."""


@dataclass(slots=True)
class Moved:
    """How much was exported, read or imported; `skipped` subjects or faces were there already."""

    collections: int = 0
    subjects: int = 0
    faces: int = 0
    templates: int = 0
    skipped: int = 0
    damaged: int = 0
    """Templates that an export left out."""

    def totals(self) -> dict[str, int]:
        """Return all but what was skipped."""
        return {
            "collections": self.collections,
            "subjects": self.subjects,
            "faces": self.faces,
            "templates": self.templates,
        }

    def add(self, other: Moved) -> None:
        """Count another part."""
        for field in fields(self):
            setattr(self, field.name, getattr(self, field.name) + getattr(other, field.name))


ReportProgress = Callable[[Moved], None]


def export(
    engine: sa.Engine,
    path: Path,
    only: Sequence[str] | None = None,
    progress: ReportProgress | None = None,
    *,
    keyring: Keyring | None = None,
    keys: SigningKeys = NO_KEYS,
) -> Moved:
    """Write collections to an archive. May run beside a serving gallery: each subject is exported as it is when read.

    Args:
        engine: The database.
        path: A new file. Where an earlier export to it was interrupted, it goes on.
        only: Names of collections; None is all.
        progress: Called after each block.
        keyring: Opens templates and crops that are sealed; they leave in the clear.
        keys: The first signs the archive; without any it is not signed.

    Raises:
        CollectionNotFound, KeyMissing, StorageError.
        ArchiveInvalid: The interrupted file is of another gallery, or not rightly signed.
    """
    moved = Moved()
    reader = TemplateReader(keyring or Keyring.empty())
    if engine.dialect.name == "postgresql":  # a block is of one moment there too: of each face all templates or none
        engine = engine.execution_options(isolation_level="REPEATABLE READ")
    with storage_errors(), ArchiveWriter(path, keys) as archive, engine.connect() as connection:
        chosen = list(connection.execute(sa.select(collections).order_by(collections.c.row)))
        for name in only or ():
            if name not in {entry.name for entry in chosen}:
                raise CollectionNotFound(name)
        chosen = [entry for entry in chosen if only is None or entry.name in only]
        after = _continue(archive, source.store_id(connection), [entry.name for entry in chosen], moved)
        for entry in chosen:
            if entry.name not in after:
                archive.write(
                    {
                        "kind": "collection",
                        "name": entry.name,
                        "keep_crops": entry.keep_crops,
                        "metadata": entry.metadata,
                        "created_at": entry.created_at.isoformat(),
                        "quality": entry.quality,
                    }
                )
                moved.collections += 1
            last = after.get(entry.name, 0)
            while rows := list(
                connection.scalars(
                    sa.select(subjects.c.row)
                    .where(subjects.c.collection_row == entry.row, subjects.c.row > last)
                    .order_by(subjects.c.row)
                    .limit(BLOCK)
                )
            ):
                rows = _first_of(connection, rows)
                block = {"kind": "subjects", "collection": entry.name, "last": rows[-1]}
                block |= _count(people := list(_read_subjects(connection, reader, rows)))
                archive.write(block | {"subjects": people})
                _add(moved, block)
                last = rows[-1]
                connection.rollback()  # a reader of hours would keep what is erased meanwhile in the files
                if progress is not None:
                    progress(moved)
        archive.write({"kind": "end", **moved.totals()})
        archive.finish()
    moved.damaged = reader.damaged
    return moved


def inspect(path: Path, keys: SigningKeys = NO_KEYS) -> Moved:
    """Read a whole archive, check it, and count.

    Raises:
        ArchiveInvalid: Damaged, cut short, not an archive of this version, with templates that cannot be taken in, or
            not signed with one of the keys where there are any.
    """
    moved = Moved()
    end: Block = {}
    for block in read_blocks(path, keys):
        if block["kind"] == "collection":
            moved.collections += 1
        elif block["kind"] == "subjects":
            _add(moved, _count(block["subjects"]))
            for face in itertools.chain.from_iterable(person["faces"] for person in block["subjects"]):
                for digest, text in face["templates"].items():
                    template_of(digest, text)
        end = block
    if {"kind": "end", **moved.totals()} != end:
        raise ArchiveInvalid(f"Archive {path.name} does not hold what its end says: it is damaged.")
    return moved


def _continue(archive: ArchiveWriter, store_id: str, names: list[str], moved: Moved) -> dict[str, int]:
    """The last subject row exported already, by collection; writes the head of a new archive."""
    if not archive.blocks:
        archive.write({"kind": "head", "id": new_id(), "store": store_id, "collections": names})
        return {}
    head, *rest = archive.blocks
    if head.get("store") != store_id or head.get("collections") != names:
        raise ArchiveInvalid(
            "The interrupted export is of another gallery or choice of collections: delete its .part file."
        )
    after: dict[str, int] = {}
    for block in rest:
        if block["kind"] == "collection":
            moved.collections += 1
            after[block["name"]] = 0
        elif block["kind"] == "subjects":
            after[block["collection"]] = block["last"]
            _add(moved, block)
    return after


def _first_of(connection: sa.Connection, rows: list[int]) -> list[int]:
    """The first of some subjects, at least one, whose faces together are not too many for a block."""
    query = sa.select(faces.c.subject_row, sa.func.count()).where(faces.c.subject_row.in_(rows))
    held: dict[int, int] = dict(connection.execute(query.group_by(faces.c.subject_row)).all())
    totals = itertools.accumulate(held.get(row, 0) for row in rows)
    return rows[: max(1, sum(total <= FACES for total in totals))]


def _read_subjects(connection: sa.Connection, reader: TemplateReader, rows: Sequence[int]) -> Iterator[Block]:
    by_face: dict[int, dict[str, str]] = defaultdict(dict)
    query = sa.select(*STORED, models.c.digest, models.c.dim).join(models, templates.c.model_row == models.c.row)
    for entry in connection.execute(query.where(templates.c.subject_row.in_(rows)).order_by(templates.c.row)):
        _, matrix = reader.read([entry], entry.dim)
        for vector in matrix:
            by_face[entry.face_row][entry.digest] = _text(vectors.pack(vector))
    by_subject: dict[int, list[Block]] = defaultdict(list)
    query_faces = sa.select(faces, crops.c.data, crops.c.key_id).outerjoin(crops, crops.c.face_row == faces.c.row)
    for entry in connection.execute(query_faces.where(faces.c.subject_row.in_(rows)).order_by(faces.c.row)):
        sealed = entry.data
        crop = None if sealed is None else _text(reader.keyring.open(sealed, entry.key_id, crop_place(entry.row)))
        by_subject[entry.subject_row].append(
            {
                "id": entry.id,
                "created_at": entry.created_at.isoformat(),
                "quality": entry.quality,
                "box": entry.box,
                "landmarks": entry.landmarks,
                "source_sha256": entry.source_sha256,
                "templates": by_face[entry.row],
                "crop": crop,
            }
        )
    for entry in connection.execute(sa.select(subjects).where(subjects.c.row.in_(rows)).order_by(subjects.c.row)):
        yield {
            "id": entry.id,
            "name": entry.name,
            "metadata": entry.metadata,
            "created_at": entry.created_at.isoformat(),
            "updated_at": entry.updated_at.isoformat(),
            "expires_at": None if entry.expires_at is None else entry.expires_at.isoformat(),
            "faces": by_subject[entry.row],
        }


def _count(people: Sequence[Block]) -> dict[str, int]:
    every = list(itertools.chain.from_iterable(person["faces"] for person in people))
    held = sum(len(face["templates"]) for face in every)
    return {"subjects_count": len(people), "faces_count": len(every), "templates_count": held}


def _add(moved: Moved, block: dict[str, Any]) -> None:
    moved.subjects += block["subjects_count"]
    moved.faces += block["faces_count"]
    moved.templates += block["templates_count"]


def _text(data: bytes) -> str:
    return base64.b64encode(data).decode("ascii")
