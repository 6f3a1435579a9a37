"""An archive into a gallery, block by block; an import that was interrupted goes on."""

from __future__ import annotations

import base64
import time
from collections.abc import Callable, Iterator, Sequence
from enum import StrEnum
from functools import cache, partial
from pathlib import Path
from typing import Any

import sqlalchemy as sa

from service.database.base import Database
from service.database.encryption import Keyring, crop_place
from service.database.errors import StorageBusy
from service.database.schema import collections, crops, faces, models, store, subjects, templates
from service.database.template_seal import TemplatePlace, seal_template
from service.database.transaction import Transaction
from service.gallery import queries
from service.gallery.archive.blocks import moment_of, template_of
from service.gallery.archive.exports import Moved, ReportProgress, inspect
from service.gallery.archive.format import NO_KEYS, Block, read_blocks
from service.gallery.archive.signature import SigningKeys
from service.gallery.changes.collections import create_collection
from service.gallery.changes.subjects import delete_face, delete_subject
from service.gallery.errors import ArchiveConflict, ArchiveInvalid
from service.gallery.names import canonical_name, check_name
from service.index import vectors
from service.index.base import Vector
from service.index.changes import Added, IndexChange

PATIENCE = 600.0
"""Seconds for which an import waits until a gallery that is busy takes the next block."""


class Rule(StrEnum):
    """What an import does with a subject that the gallery has already, by name or by id."""

    STOP = "stop"
    SKIP = "skip"
    MERGE = "merge"
    REPLACE = "replace"


def restore(
    database: Database[IndexChange],
    path: Path,
    rule: Rule,
    progress: ReportProgress | None = None,
    *,
    keyring: Keyring,
    keys: SigningKeys = NO_KEYS,
) -> Moved:
    """Import an archive, block by block, each in one transaction; an import that was interrupted goes on where it was.

    Args:
        database: Of a gallery, empty or filled; its index follows.
        path: A whole archive; it is checked before anything is changed.
        rule: What to do with a subject that is there already.
        progress: Called after each block.
        keyring: Seals what is restored, as it does all else in the gallery.
        keys: With which archives may be signed; without any, no signature is asked for.

    Raises:
        ArchiveInvalid: The archive is damaged or not rightly signed, or its templates do not fit the gallery's models.
        ArchiveConflict: A subject is there already, and the rule is to stop; what was imported before stays.
    """
    inspect(path, keys)
    blocks = read_blocks(path, keys)
    head = next(blocks)  # `inspect` has read it
    mark = f"import:{head['id']}"
    done = int(database.write(lambda c: c.scalar(sa.select(store.c.value).where(store.c.name == mark))) or 0)
    moved = Moved()
    for number, block in enumerate(blocks, start=1):
        if number > done:
            restored = partial(_restore_block, block=block, keyring=keyring, rule=rule, mark=mark, number=number)
            moved.add(_change_patiently(database, restored))
            if progress is not None:
                progress(moved)
    database.write(lambda c: c.execute(sa.delete(store).where(store.c.name == mark)))
    return moved


def _change_patiently(database: Database[IndexChange], work: Callable[[Transaction[IndexChange]], Moved]) -> Moved:
    """Change the gallery, also where it takes changes only so fast: nobody waits for an answer here."""
    end = time.monotonic() + PATIENCE
    while True:
        try:
            return database.change_alone(work)
        except StorageBusy as busy:
            if time.monotonic() > end:
                raise
            time.sleep(busy.retry_after)


def _restore_block(
    transaction: Transaction[IndexChange], block: Block, keyring: Keyring, rule: Rule, mark: str, number: int
) -> Moved:
    part, block = Moved(), _spell(block)
    if block["kind"] == "collection":
        row = transaction.connection.scalar(sa.select(collections.c.row).where(collections.c.name == block["name"]))
        if row is None:
            create_collection(transaction, block["name"], block["keep_crops"], block["metadata"], block.get("quality"))
            at = moment_of(block["created_at"])
            transaction.connection.execute(
                sa.update(collections).where(collections.c.name == block["name"]).values(created_at=at)
            )
        part.collections += 1
    elif block["kind"] == "subjects":
        collection_row = queries.collection_row(transaction.connection, block["collection"])
        _restore_subjects(transaction, block["collection"], collection_row, block["subjects"], keyring, rule, part)
    transaction.connection.execute(sa.delete(store).where(store.c.name == mark))
    transaction.connection.execute(sa.insert(store).values(name=mark, value=str(number)))
    return part


def _spell(block: Block) -> Block:
    """A block with its names in their canonical spelling, which archives of earlier versions may lack."""
    if block["kind"] == "collection":
        return block | {"name": canonical_name(block["name"])}
    if block["kind"] == "subjects":
        people = [person | {"name": canonical_name(person["name"])} for person in block["subjects"]]
        return block | {"collection": canonical_name(block["collection"]), "subjects": people}
    return block


def _restore_subjects(
    transaction: Transaction[IndexChange],
    collection: str,
    collection_row: int,
    people: Sequence[Block],
    keyring: Keyring,
    rule: Rule,
    part: Moved,
) -> None:
    same_name = (subjects.c.collection_row == collection_row) & subjects.c.name.in_(
        [person["name"] for person in people]
    )
    present = transaction.connection.execute(
        sa.select(subjects, collections.c.name.label("collection"))
        .join(collections)
        .where(same_name | subjects.c.id.in_([person["id"] for person in people]))
    ).all()
    by_name = {entry.name: entry for entry in present if entry.collection_row == collection_row}
    by_id = {entry.id: entry for entry in present}
    known: dict[str, tuple[int, int]] = {}
    new: list[Block] = []
    replaced: set[int] = set()
    for person in people:
        matches = {e.row: e for e in (by_name.get(person["name"]), by_id.get(person["id"])) if e is not None}
        if matches and rule == Rule.STOP:
            other = next(iter(matches.values()))
            raise ArchiveConflict(
                f"Subject '{person['name']}' of collection '{collection}' is in the gallery already "
                f"(as '{other.name}' in '{other.collection}'); import with skip, merge or replace."
            )
        if matches and rule == Rule.SKIP:
            part.skipped += 1
        elif matches and rule == Rule.MERGE:
            into = next(iter(matches.values()))
            known[person["id"]] = (into.row, into.collection_row)
        else:
            for entry in matches.values():
                if entry.row not in replaced:  # by somebody before, who has the name that this one had, or the id
                    delete_subject(transaction, entry.collection, entry.name)
                    replaced.add(entry.row)
            new.append(person)
    if new:
        values = [
            {
                "id": person["id"],
                "collection_row": collection_row,
                "name": check_name("subject", person["name"]),
                "metadata": person["metadata"],
                "created_at": moment_of(person["created_at"]),
                "updated_at": moment_of(person["updated_at"]),
                "expires_at": None if person.get("expires_at") is None else moment_of(person["expires_at"]),
            }
            for person in new
        ]
        transaction.connection.execute(sa.insert(subjects), values)
        known |= {
            id_: (row, collection_row)
            for id_, row in _rows(transaction.connection, subjects, [value["id"] for value in values])
        }
    part.subjects += len(known)
    chosen = [(*known[person["id"]], face) for person in people if person["id"] in known for face in person["faces"]]
    _restore_faces(transaction, chosen, keyring, rule, part)


def _restore_faces(
    transaction: Transaction[IndexChange],
    chosen: list[tuple[int, int, Block]],
    keyring: Keyring,
    rule: Rule,
    part: Moved,
) -> None:
    """Faces with the rows of their subject and collection."""
    present: dict[str, str] = {}
    for batch in _batches([face["id"] for _, _, face in chosen]):
        query = sa.select(faces.c.id, collections.c.name).join(collections, faces.c.collection_row == collections.c.row)
        present |= {
            entry.id: entry.name for entry in transaction.connection.execute(query.where(faces.c.id.in_(batch)))
        }
    for id_, name in present.items():
        if rule == Rule.STOP:
            raise ArchiveConflict(f"Face {id_} is in collection '{name}' already; import with skip, merge or replace.")
        if rule == Rule.REPLACE:
            delete_face(transaction, name, id_)
        else:
            part.skipped += 1
    new = [entry for entry in chosen if rule == Rule.REPLACE or entry[2]["id"] not in present]
    if not new:
        return
    values = [
        {name: face[name] for name in ("id", "quality", "box", "landmarks", "source_sha256")}
        | {"collection_row": collection_row, "subject_row": subject, "created_at": moment_of(face["created_at"])}
        for subject, collection_row, face in new
    ]
    transaction.connection.execute(sa.insert(faces), values)
    face_rows = dict(_rows(transaction.connection, faces, [face["id"] for _, _, face in new]))
    held: list[dict[str, Any]] = []
    incoming: list[Vector] = []
    model_of = cache(partial(_model, transaction.connection))
    for subject, collection_row, face in new:
        for digest, text in face["templates"].items():
            vector = template_of(digest, text)
            model = model_of(digest, len(vector))
            held.append(
                {
                    "face_row": face_rows[face["id"]],
                    "model_row": model,
                    "collection_row": collection_row,
                    "subject_row": subject,
                }
            )
            incoming.append(vector)
    if held:
        sealed = [
            template | _sealed(keyring, template, vector) for template, vector in zip(held, incoming, strict=True)
        ]
        transaction.connection.execute(sa.insert(templates), sealed)
    rows: dict[tuple[int, int], int] = {}
    for batch in _batches(list(face_rows.values())):
        query = sa.select(templates.c.face_row, templates.c.model_row, templates.c.row).where(
            templates.c.face_row.in_(batch)
        )
        rows |= {(entry.face_row, entry.model_row): entry.row for entry in transaction.connection.execute(query)}
    for template, vector in zip(held, incoming, strict=True):
        row = rows[template["face_row"], template["model_row"]]
        transaction.changes.append(
            Added(template["collection_row"], template["model_row"], row, template["subject_row"], vector)
        )
    kept = [
        {"face_row": face_rows[face["id"]]}
        | _sealed_crop(keyring, face_rows[face["id"]], base64.b64decode(face["crop"]))
        for _, _, face in new
        if face["crop"] is not None
    ]
    if kept:
        transaction.connection.execute(sa.insert(crops), kept)
    part.faces += len(new)
    part.templates += len(held)


def _sealed(keyring: Keyring, template: dict[str, Any], vector: Vector) -> dict[str, Any]:
    place = TemplatePlace(
        template["collection_row"], template["subject_row"], template["face_row"], template["model_row"]
    )
    return seal_template(keyring, vectors.pack(vector), place)


def _sealed_crop(keyring: Keyring, face_row: int, crop: bytes) -> dict[str, Any]:
    data, key_id = keyring.seal(crop, crop_place(face_row))
    return {"data": data, "key_id": key_id}


def _rows(connection: sa.Connection, table: sa.Table, ids: list[str]) -> Iterator[tuple[str, int]]:
    for batch in _batches(ids):
        entries = connection.execute(sa.select(table.c.id, table.c.row).where(table.c.id.in_(batch)))
        yield from ((entry.id, entry.row) for entry in entries)


def _batches(values: list[Any]) -> Iterator[list[Any]]:
    """Lists short enough to be asked for at once."""
    for start in range(0, len(values), 500):
        yield values[start : start + 500]


def _model(connection: sa.Connection, digest: str, dim: int) -> int:
    model = connection.execute(sa.select(models.c.row, models.c.dim).where(models.c.digest == digest)).one_or_none()
    if model is None:
        return int(connection.execute(sa.insert(models), {"digest": digest, "dim": dim}).inserted_primary_key[0])  # type: ignore[index]
    if model.dim != dim:
        raise ArchiveInvalid(
            f"Templates of model {digest[:12]} have {dim} dimensions here and {model.dim} in the gallery."
        )
    return int(model.row)
