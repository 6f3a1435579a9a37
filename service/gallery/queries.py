"""Reads of the database: each takes an open connection and gives back records."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterator, Sequence
from typing import Any, NamedTuple

import sqlalchemy as sa

from service.database.schema import collections, faces, models, now, receipts, subjects, templates
from service.database.template_seal import STORED
from service.gallery.errors import CollectionNotFound, FaceNotFound, SubjectNotFound
from service.gallery.records import Collection, Face, Hit, Receipt, Subject
from service.index import vectors
from service.index.base import CandidateList, Vector
from service.index.stored_templates import TemplateReader

Score = Callable[[Vector, str], float]

_FACES_OF_SUBJECT = (
    sa.select(sa.func.count()).where(faces.c.subject_row == subjects.c.row).correlate(subjects).scalar_subquery()
)
_SUBJECTS = sa.select(subjects, collections.c.name.label("collection"), _FACES_OF_SUBJECT.label("faces")).join(
    collections
)
_FACES = (
    sa.select(
        faces,
        collections.c.name.label("collection"),
        subjects.c.id.label("subject_id"),
        subjects.c.name.label("subject"),
    )
    .join(subjects, faces.c.subject_row == subjects.c.row)
    .join(collections, faces.c.collection_row == collections.c.row)
)
_HITS = (
    sa.select(
        *STORED,
        faces.c.subject_row.label("owner_row"),
        subjects.c.name.label("subject"),
        subjects.c.id.label("subject_id"),
        subjects.c.expires_at,
        faces.c.id.label("face_id"),
        models.c.digest,
        models.c.dim,
    )
    .join(faces, templates.c.face_row == faces.c.row)
    .join(subjects, faces.c.subject_row == subjects.c.row)
    .join(models, templates.c.model_row == models.c.row)
    .where(templates.c.row.in_(sa.bindparam("rows", expanding=True)))
)
# Made once, because every search asks them.
LIVING = sa.or_(
    subjects.c.expires_at.is_(None),
    subjects.c.expires_at > sa.bindparam("moment", callable_=now, type_=subjects.c.expires_at.type),
)
"""Whether a subject's date has not come: from that moment on nobody finds the subject, though it is erased later."""
_COLLECTION_ROW = sa.select(collections.c.row).where(collections.c.name == sa.bindparam("name"))
_SUBJECT_ROW = sa.select(subjects.c.row).where(
    subjects.c.collection_row == sa.bindparam("collection_row"), subjects.c.name == sa.bindparam("name")
)
_LIVING_ROW = _SUBJECT_ROW.where(LIVING)
_MODEL_ROW = sa.select(models.c.row).where(models.c.digest == sa.bindparam("digest"))


def collection_row(connection: sa.Connection, name: str, *, lock: bool = False) -> int:
    """Return the row of a collection; with `lock`, nobody else changes it before this transaction ends.

    Raises:
        CollectionNotFound: There is none.
    """
    query = _COLLECTION_ROW.with_for_update() if lock else _COLLECTION_ROW
    row = connection.scalar(query, {"name": name})
    if row is None:
        raise CollectionNotFound(name)
    return int(row)


def subject_row(
    connection: sa.Connection, collection: str, name: str, *, lock: bool = False, expired: bool = False
) -> int:
    """Return the row of a subject, also of one who has expired where that is said.

    With `lock`, nobody else changes it before this transaction ends.

    Raises:
        CollectionNotFound: There is no collection of that name.
        SubjectNotFound: The collection has no subject of that name.
    """
    in_collection = collection_row(connection, collection)
    query = _SUBJECT_ROW if expired else _LIVING_ROW
    if lock:
        query = query.with_for_update()
    row = connection.scalar(query, {"collection_row": in_collection, "name": name})
    if row is None:
        raise SubjectNotFound(collection, name)
    return int(row)


def model_row(connection: sa.Connection, digest: str) -> int | None:
    """Return the row of a model, if any template of it was ever stored."""
    row = connection.scalar(_MODEL_ROW, {"digest": digest})
    return None if row is None else int(row)


def collection(connection: sa.Connection, name: str) -> Collection:
    """Return one collection by name.

    Raises:
        CollectionNotFound: There is none.
    """
    entry = connection.execute(sa.select(collections).where(collections.c.name == name)).one_or_none()
    if entry is None:
        raise CollectionNotFound(name)
    return _collection(entry)


def list_collections(
    connection: sa.Connection, after: int, limit: int, reachable: frozenset[str] | None = None
) -> list[tuple[int, Collection]]:
    """Return up to `limit` collections, of those `reachable`, whose row is above `after`, with their rows."""
    query = sa.select(collections).where(collections.c.row > after)
    if reachable is not None:
        query = query.where(collections.c.name.in_(reachable))
    page = query.order_by(collections.c.row).limit(limit)
    return [(entry.row, _collection(entry)) for entry in connection.execute(page)]


def subject(connection: sa.Connection, collection: str, name: str, *, expired: bool = False) -> Subject:
    """Return one subject by name, also one who has expired where that is said.

    Raises:
        CollectionNotFound: There is no collection of that name.
        SubjectNotFound: The collection has no subject of that name.
    """
    row = subject_row(connection, collection, name, expired=expired)
    return _subject(connection.execute(_SUBJECTS.where(subjects.c.row == row)).one())


def list_subjects(
    connection: sa.Connection, collection: str, after: int, limit: int, prefix: str
) -> list[tuple[int, Subject]]:
    """Return up to `limit` subjects whose row is above `after` and whose name begins with `prefix`, with their rows."""
    in_collection = collection_row(connection, collection)
    query = _SUBJECTS.where(subjects.c.collection_row == in_collection, subjects.c.row > after, LIVING)
    if prefix:
        # Not LIKE, which is blind to case in SQLite alone.
        query = query.where(sa.func.substr(subjects.c.name, 1, len(prefix)) == prefix)
    return [(entry.row, _subject(entry)) for entry in connection.execute(query.order_by(subjects.c.row).limit(limit))]


def face(connection: sa.Connection, collection: str, face_id: str) -> Face:
    """Return one face by id.

    Raises:
        CollectionNotFound: There is no collection of that name.
        FaceNotFound: The collection has no face of that id.
    """
    in_collection = collection_row(connection, collection)
    query = _FACES.where(faces.c.id == face_id, faces.c.collection_row == in_collection, LIVING)
    matches = _faces(connection, query)
    if not matches:
        raise FaceNotFound(collection, face_id)
    return matches[0][1]


def list_faces(
    connection: sa.Connection, collection: str, subject: str, after: int, limit: int
) -> list[tuple[int, Face]]:
    """Return up to `limit` faces of a subject whose row is above `after`, with their rows."""
    row = subject_row(connection, collection, subject)
    return _faces(connection, _FACES.where(faces.c.subject_row == row, faces.c.row > after).limit(limit))


def has_subject(connection: sa.Connection, collection: str, name: str) -> bool:
    """Say whether a collection has a subject of that name.

    Raises:
        CollectionNotFound: There is no collection of that name.
    """
    in_collection = collection_row(connection, collection)
    return connection.scalar(_LIVING_ROW, {"collection_row": in_collection, "name": name}) is not None


def has_expired(connection: sa.Connection, collection_row: int, name: str) -> bool:
    """Say whether somebody of that name has expired and is not erased yet."""
    query = _SUBJECT_ROW.where(~LIVING).with_for_update()
    return connection.scalar(query, {"collection_row": collection_row, "name": name}) is not None


def lock_faces(connection: sa.Connection, condition: sa.ColumnElement[bool]) -> None:
    """Let nobody else move or change faces, or give them templates, before this transaction ends.

    By a statement of its own: one that joins their people would miss a face that went to another person meanwhile.
    """
    held = sa.select(faces.c.row).where(condition).order_by(faces.c.row).with_for_update().subquery()
    connection.execute(sa.select(sa.func.count()).select_from(held))


def faces_of(connection: sa.Connection, collection: str, face_ids: Sequence[str], *, lock: bool = False) -> list[Face]:
    """Return those faces of a collection that have one of these ids, oldest first; `lock` as in `collection_row`.

    Raises:
        CollectionNotFound: There is no collection of that name.
    """
    in_collection = collection_row(connection, collection)
    condition = sa.and_(faces.c.collection_row == in_collection, faces.c.id.in_(face_ids))
    if lock:
        lock_faces(connection, condition)
    return [face for _, face in _faces(connection, _FACES.where(condition))]


def numbered_faces(
    connection: sa.Connection, collection: str, subject: str | None, number: int, size: int
) -> tuple[list[Face], int]:
    """Return the faces on a page of so many, oldest first, and how many there are on all pages.

    Raises:
        CollectionNotFound: There is no collection of that name.
    """
    in_collection = collection_row(connection, collection)
    condition = faces.c.collection_row == in_collection
    if subject is not None:
        row = connection.scalar(_LIVING_ROW, {"collection_row": in_collection, "name": subject})
        condition &= faces.c.subject_row == (-1 if row is None else row)
    condition &= LIVING
    counted = faces.join(subjects, faces.c.subject_row == subjects.c.row)
    total = connection.scalar(sa.select(sa.func.count()).select_from(counted).where(condition))
    page = _faces(connection, _FACES.where(condition).offset(number * size).limit(size))
    return [face for _, face in page], int(total or 0)


class Named(NamedTuple):
    """What an index found, by the names that the database has for it.

    `damaged` are the rows of what is damaged there, for the index to leave out: it may hide another face of the same
    person. `unknown` says that the index found what the database does not hold: one of them is ahead of the other.
    """

    hits: list[list[Hit]]
    damaged: list[int]
    unknown: bool


def hits(
    connection: sa.Connection, results: Sequence[CandidateList], scores: Sequence[Score], reader: TemplateReader
) -> Named:
    """Return what an index found, named from the database and compared with what this holds, best first.

    What the database does not hold is left out, and so are those whose date has come, and what is damaged there: an
    index alone matches nobody.

    Args:
        connection: Open.
        results: Of the index.
        scores: Of each result, the score of a template (D,) of a model (its digest) with what was searched for.
        reader: Opens the templates.

    Raises:
        ScoreInvalid: A comparison gave no cosine.
    """
    rows = sorted({int(row) for result in results for row in result.rows})
    named: dict[int, Any] = {}
    for start in range(0, len(rows), 500):
        answer = connection.execute(_HITS, {"rows": rows[start : start + 500]})
        named.update((entry.row, entry) for entry in answer)
    unknown = len(named) < len(rows)
    at = now()
    named = {row: entry for row, entry in named.items() if entry.expires_at is None or entry.expires_at > at}
    for entry in named.values():
        if entry.owner_row != entry.subject_row:
            reader.set_aside(entry.row, "its face belongs to another person")
    ranked, damaged = [], []
    for result, score in zip(results, scores, strict=True):
        entries = [named[row] for row in result.rows.tolist() if row in named]
        own: list[Hit] = []
        for entry in entries:
            _, stored = reader.read([entry], entry.dim)
            if len(stored):
                value = vectors.score(score(stored[0], entry.digest))
                own.append(Hit(entry.subject, entry.subject_id, entry.face_id, value, entry.digest))
            else:
                damaged.append(entry.row)
        ranked.append(sorted(own, key=lambda hit: -hit.score))
    return Named(ranked, damaged, unknown)


def models_of(connection: sa.Connection, condition: sa.ColumnElement[bool]) -> tuple[str, ...]:
    """Return digests of the models with templates under a condition on the templates."""
    query = sa.select(models.c.digest).where(
        sa.exists().where(templates.c.model_row == models.c.row, condition).correlate(models)
    )
    return tuple(connection.scalars(query.order_by(models.c.row)))


def list_receipts(
    connection: sa.Connection, after: int, limit: int, reachable: frozenset[str] | None = None
) -> list[tuple[int, Receipt]]:
    """Return up to `limit` receipts, of erasures in `reachable` collections, whose row is above `after`."""
    query = sa.select(receipts).where(receipts.c.row > after).order_by(receipts.c.row).limit(limit)
    if reachable is not None:
        query = query.where(receipts.c.collection.in_(reachable))
    return [
        (entry.row, Receipt(entry.id, entry.kind, entry.target, entry.faces, entry.templates, entry.at))
        for entry in connection.execute(query)
    ]


def _collection(entry: Any) -> Collection:
    return Collection(entry.name, entry.created_at, entry.keep_crops, entry.metadata, entry.quality)


def _subject(entry: Any) -> Subject:
    return Subject(
        entry.id,
        entry.collection,
        entry.name,
        entry.metadata,
        entry.created_at,
        entry.updated_at,
        entry.faces,
        entry.expires_at,
    )


def _faces(connection: sa.Connection, query: sa.Select[Any]) -> list[tuple[int, Face]]:
    entries = connection.execute(query.order_by(faces.c.row)).all()
    digests: dict[int, list[str]] = defaultdict(list)
    for face_row, digest in _digests(connection, [entry.row for entry in entries]):
        digests[face_row].append(digest)
    return [
        (
            entry.row,
            Face(
                id=entry.id,
                collection=entry.collection,
                subject_id=entry.subject_id,
                subject=entry.subject,
                created_at=entry.created_at,
                quality=entry.quality,
                box=tuple(entry.box),
                landmarks=tuple((x, y) for x, y in entry.landmarks),
                source_sha256=entry.source_sha256,
                models=tuple(digests[entry.row]),
            ),
        )
        for entry in entries
    ]


def _digests(connection: sa.Connection, face_rows: Sequence[int]) -> Iterator[tuple[int, str]]:
    query = sa.select(templates.c.face_row, models.c.digest).join(models, templates.c.model_row == models.c.row)
    for entry in connection.execute(query.where(templates.c.face_row.in_(face_rows)).order_by(templates.c.row)):
        yield entry[0], entry[1]
