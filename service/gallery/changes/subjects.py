"""Subjects and their faces: subjects made and changed, both erased. Functions of a transaction."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any

import sqlalchemy as sa

from service.database.audit_log import AuditEntry, insert_entries
from service.database.schema import faces, new_id, now, subjects, templates
from service.database.timeouts import without_timeouts
from service.database.transaction import Transaction, is_taken
from service.gallery import queries
from service.gallery.changes import kept_outcomes
from service.gallery.changes.erasure import remove_templates, write_receipt
from service.gallery.errors import FaceNotFound, SubjectExists
from service.gallery.names import check_name
from service.gallery.records import Face, Keep, Receipt, Subject
from service.index.changes import IndexChange


def create_subject(transaction: Transaction[IndexChange], collection: str, name: str) -> Subject:
    """Make a subject that has no face yet.

    Raises:
        CollectionNotFound: There is no collection of that name.
        SubjectExists: The name is taken.
        NameInvalid: The name cannot be given.
    """
    row = queries.collection_row(transaction.connection, collection)
    at, canonical = now(), check_name("subject", name)
    if queries.has_expired(transaction.connection, row, canonical):
        erase_expired(transaction, collection, canonical)
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
    expires_at: datetime | Keep | None = Keep.KEEP,
) -> Subject:
    """Rename a subject, replace its metadata, set or lift (None) the date at which it is erased.

    Somebody expired who has the new name is erased.

    Raises:
        SubjectNotFound: The collection has no subject of that name.
        CollectionNotFound: There is no collection of that name.
        NameInvalid: The name cannot be given.
        SubjectExists: The name is another subject's.
    """
    row = queries.subject_row(transaction.connection, collection, name)
    values: dict[str, Any] = {"updated_at": now()}
    if new_name is not None:
        values["name"] = new_name = check_name("subject", new_name)
        in_collection = queries.collection_row(transaction.connection, collection)
        if queries.has_expired(transaction.connection, in_collection, new_name):
            erase_expired(transaction, collection, new_name)
    if metadata is not None:
        values["metadata"] = dict(metadata)
    if expires_at is not Keep.KEEP:
        values["expires_at"] = expires_at
    try:
        transaction.connection.execute(sa.update(subjects).where(subjects.c.row == row).values(**values))
    except sa.exc.IntegrityError:
        raise SubjectExists(collection, str(new_name)) from None
    return queries.subject(transaction.connection, collection, new_name or name, expired=True)


def delete_subject(transaction: Transaction[IndexChange], collection: str, name: str) -> Receipt:
    """Erase a subject with all its faces.

    Raises:
        CollectionNotFound: There is no collection of that name.
        SubjectNotFound: The collection has no subject of that name.
    """
    row = queries.subject_row(transaction.connection, collection, name, lock=True, expired=True)
    subject_id = transaction.connection.scalar(sa.select(subjects.c.id).where(subjects.c.row == row))
    queries.lock_faces(transaction.connection, faces.c.subject_row == row)
    face_rows = sa.select(faces.c.row).where(faces.c.subject_row == row)
    removed = remove_templates(transaction, templates.c.face_row.in_(face_rows))
    lost = transaction.connection.execute(sa.delete(faces).where(faces.c.subject_row == row)).rowcount
    transaction.connection.execute(sa.delete(subjects).where(subjects.c.row == row))
    kept_outcomes.erase(transaction.connection, [str(subject_id)])
    return write_receipt(transaction, "subject", str(subject_id), lost, removed, collection)


def erase_expired(transaction: Transaction[IndexChange], collection: str, name: str) -> Receipt:
    """Erase a subject whose date has come, with its entry in the audit log: nobody asked for it.

    Raises:
        CollectionNotFound: There is no collection of that name.
        SubjectNotFound: The collection has no subject of that name.
    """
    receipt = delete_subject(transaction, collection, name)
    entry = AuditEntry("", "expiry", "delete_subject", "done", collection=collection, target=receipt.target)
    insert_entries(transaction.connection, [entry])
    transaction.side_effects.append((receipt, collection))
    return receipt


def delete_subjects(transaction: Transaction[IndexChange], collection: str) -> tuple[Receipt, int]:
    """Erase all subjects of a collection, which stays; returns also how many these were.

    Raises:
        CollectionNotFound: There is no collection of that name.
    """
    row = queries.collection_row(transaction.connection, collection, lock=True)
    with without_timeouts(transaction.connection):
        kept_outcomes.erase(transaction.connection, sa.select(subjects.c.id).where(subjects.c.collection_row == row))
        queries.lock_faces(transaction.connection, faces.c.collection_row == row)
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
    condition = sa.and_(faces.c.id == face_id, faces.c.collection_row == in_collection)
    queries.lock_faces(transaction.connection, condition)
    query = sa.select(faces.c.row, subjects.c.id).join(subjects, faces.c.subject_row == subjects.c.row)
    entry = transaction.connection.execute(query.where(condition)).one_or_none()
    if entry is None:
        raise FaceNotFound(collection, face_id)
    row, subject_id = entry
    kept_outcomes.erase(transaction.connection, [subject_id], face_id)
    removed = remove_templates(transaction, templates.c.face_row == row)
    transaction.connection.execute(sa.delete(faces).where(faces.c.row == row))
    return write_receipt(transaction, "face", face_id, 1, removed, collection)


def delete_faces(
    transaction: Transaction[IndexChange], collection: str, face_ids: Sequence[str]
) -> list[tuple[Face, Receipt]]:
    """Erase several faces of a collection, overlooking ids that are not there; returns what was erased, oldest first.

    Raises:
        CollectionNotFound: There is no collection of that name.
    """
    return [
        (face, delete_face(transaction, collection, face.id))
        for face in queries.faces_of(transaction.connection, collection, face_ids, lock=True)
    ]
