"""Changes of the database, each a function of a transaction: it either happens whole or leaves no trace."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping
from typing import Any

import sqlalchemy as sa

from service.database.schema import collections, faces, new_id, now, receipts, subjects, templates
from service.database.timeouts import without_timeouts
from service.database.transaction import Transaction, is_taken
from service.gallery import kept_outcomes, queries
from service.gallery.errors import CollectionExists, FaceNotFound, NameInvalid, SubjectExists
from service.gallery.names import canonical_name, is_name
from service.gallery.records import Collection, Receipt, Subject
from service.index.changes import Dropped, IndexChange, Removed


def check_name(kind: str, name: str) -> str:
    """Return `name` in its canonical spelling, if a collection or subject may have it.

    Raises:
        NameInvalid: Empty, longer than 255, with control characters or space at an end.
    """
    canonical = canonical_name(name)
    if not is_name(canonical):
        raise NameInvalid(kind)
    return canonical


def create_collection(
    transaction: Transaction[IndexChange], name: str, keep_crops: bool, metadata: Mapping[str, Any]
) -> Collection:
    """Make a new, empty collection.

    Raises:
        NameInvalid: The name cannot be given.
        CollectionExists: The name is taken.
    """
    values = {"name": check_name("collection", name), "keep_crops": keep_crops, "metadata": dict(metadata)}
    try:
        transaction.connection.execute(sa.insert(collections).values(created_at=now(), **values))
    except sa.exc.IntegrityError:
        raise CollectionExists(name) from None
    return queries.collection(transaction.connection, name)


def create_subject(transaction: Transaction[IndexChange], collection: str, name: str) -> Subject:
    """Make a subject that has no face yet.

    Raises:
        CollectionNotFound: There is no collection of that name.
        SubjectExists: The name is taken.
        NameInvalid: The name cannot be given.
    """
    row = queries.collection_row(transaction.connection, collection)
    at, canonical = now(), check_name("subject", name)
    values = {"id": new_id(), "collection_row": row, "name": canonical, "metadata": {}}
    try:
        transaction.connection.execute(sa.insert(subjects).values(created_at=at, updated_at=at, **values))
    except sa.exc.IntegrityError as error:
        if not is_taken(error):  # the collection is just being erased
            raise
        raise SubjectExists(collection, canonical) from None
    return queries.subject(transaction.connection, collection, canonical)


def update_subject(
    transaction: Transaction[IndexChange],
    collection: str,
    name: str,
    new_name: str | None,
    metadata: Mapping[str, Any] | None,
) -> Subject:
    """Rename a subject, replace its metadata, or both.

    Raises:
        SubjectNotFound: The collection has no subject of that name.
        CollectionNotFound: There is no collection of that name.
        NameInvalid: The name cannot be given.
        SubjectExists: The name is another subject's.
    """
    row = queries.subject_row(transaction.connection, collection, name)
    values: dict[str, Any] = {"updated_at": now()}
    if new_name is not None:
        values["name"] = check_name("subject", new_name)
    if metadata is not None:
        values["metadata"] = dict(metadata)
    try:
        transaction.connection.execute(sa.update(subjects).where(subjects.c.row == row).values(**values))
    except sa.exc.IntegrityError:
        raise SubjectExists(collection, str(new_name)) from None
    return queries.subject(transaction.connection, collection, new_name or name)


def delete_collection(transaction: Transaction[IndexChange], name: str) -> Receipt:
    """Erase a collection with everything in it.

    Raises:
        CollectionNotFound: There is none.
    """
    row = queries.collection_row(transaction.connection, name, lock=True)
    with without_timeouts(transaction.connection):
        kept_outcomes.erase(transaction.connection, sa.select(subjects.c.id).where(subjects.c.collection_row == row))
        removed = transaction.connection.execute(sa.delete(templates).where(templates.c.collection_row == row)).rowcount
        lost = transaction.connection.execute(sa.delete(faces).where(faces.c.collection_row == row)).rowcount
        transaction.connection.execute(sa.delete(collections).where(collections.c.row == row))
    transaction.changes.append(Dropped(row))
    return write_receipt(transaction, "collection", name, lost, removed, name)


def delete_subject(transaction: Transaction[IndexChange], collection: str, name: str) -> Receipt:
    """Erase a subject with all its faces.

    Raises:
        CollectionNotFound: There is no collection of that name.
        SubjectNotFound: The collection has no subject of that name.
    """
    row = queries.subject_row(transaction.connection, collection, name, lock=True)
    subject_id = transaction.connection.scalar(sa.select(subjects.c.id).where(subjects.c.row == row))
    face_rows = sa.select(faces.c.row).where(faces.c.subject_row == row)
    removed = remove_templates(transaction, templates.c.face_row.in_(face_rows))
    lost = transaction.connection.execute(sa.delete(faces).where(faces.c.subject_row == row)).rowcount
    transaction.connection.execute(sa.delete(subjects).where(subjects.c.row == row))
    kept_outcomes.erase(transaction.connection, [str(subject_id)])
    return write_receipt(transaction, "subject", str(subject_id), lost, removed, collection)


def delete_subjects(transaction: Transaction[IndexChange], collection: str) -> tuple[Receipt, int]:
    """Erase all subjects of a collection, which stays; returns also how many these were.

    Raises:
        CollectionNotFound: There is no collection of that name.
    """
    row = queries.collection_row(transaction.connection, collection, lock=True)
    with without_timeouts(transaction.connection):
        kept_outcomes.erase(transaction.connection, sa.select(subjects.c.id).where(subjects.c.collection_row == row))
        removed = remove_templates(transaction, templates.c.collection_row == row)
        lost = transaction.connection.execute(sa.delete(faces).where(faces.c.collection_row == row)).rowcount
        gone = transaction.connection.execute(sa.delete(subjects).where(subjects.c.collection_row == row)).rowcount
    return write_receipt(transaction, "subjects", collection, lost, removed, collection), gone


def delete_face(transaction: Transaction[IndexChange], collection: str, face_id: str) -> Receipt:
    """Erase one face; its subject stays, perhaps without a face.

    Raises:
        CollectionNotFound: There is no collection of that name.
        FaceNotFound: The collection has no face of that id.
    """
    in_collection = queries.collection_row(transaction.connection, collection)
    query = sa.select(faces.c.row, subjects.c.id).join(subjects, faces.c.subject_row == subjects.c.row)
    query = query.where(faces.c.id == face_id, faces.c.collection_row == in_collection)
    found = transaction.connection.execute(query.with_for_update(of=faces)).one_or_none()
    if found is None:
        raise FaceNotFound(collection, face_id)
    row, subject_id = found
    kept_outcomes.erase(transaction.connection, [subject_id], face_id)
    removed = remove_templates(transaction, templates.c.face_row == row)
    transaction.connection.execute(sa.delete(faces).where(faces.c.row == row))
    return write_receipt(transaction, "face", face_id, 1, removed, collection)


def remove_templates(transaction: Transaction[IndexChange], condition: sa.ColumnElement[bool]) -> int:
    """Remove templates from the database and from the indexes; returns how many."""
    query = sa.delete(templates).where(condition)
    entries = transaction.connection.execute(
        query.returning(templates.c.row, templates.c.collection_row, templates.c.model_row)
    ).all()
    by_place: dict[tuple[int, int], list[int]] = defaultdict(list)
    for row, collection, model in entries:
        by_place[collection, model].append(row)
    transaction.changes.extend(Removed(*place, tuple(sorted(rows))) for place, rows in by_place.items())
    return len(entries)


def write_receipt(
    transaction: Transaction[IndexChange],
    kind: str,
    target: str,
    lost: int,
    removed: int,
    collection: str | None = None,
) -> Receipt:
    """Prove that `lost` faces and `removed` templates are gone from a collection, or from all (None)."""
    receipt = Receipt(new_id(), kind, target, lost, removed, now())
    transaction.connection.execute(
        sa.insert(receipts).values(
            id=receipt.id, kind=kind, target=target, faces=lost, templates=removed, at=receipt.at, collection=collection
        )
    )
    return receipt
