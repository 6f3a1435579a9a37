"""Faces that turn out to be somebody else's: one moved to another person, or two people made one.

Functions of a transaction: each happens whole or not at all, on every engine. A template is bound to its person
(`service.database.template_seal`) and an index knows it by a row that never changes, so a template that changes hands
is taken out and put in again under a new row, in the same commit.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime

import sqlalchemy as sa

from service.database.encryption import Keyring
from service.database.errors import TemplateDamaged
from service.database.schema import faces, models, new_id, now, subjects, templates
from service.database.template_seal import STORED
from service.database.transaction import Transaction, serialise
from service.gallery import queries
from service.gallery.changes import kept_outcomes
from service.gallery.changes.erasure import remove_templates
from service.gallery.changes.insertion import FaceRow, insert_template, row_of
from service.gallery.changes.subjects import erase_expired
from service.gallery.errors import FaceNotFound, SamePerson
from service.gallery.names import check_name
from service.gallery.records import Face, Idempotency, Merger
from service.index.changes import IndexChange
from service.index.stored_templates import TemplateReader


@dataclass(frozen=True, slots=True)
class MovedFace:
    """A face as it is now, and the id of the person whose it was."""

    face: Face
    origin: str

    @property
    def moved(self) -> bool:
        """Whether it was somebody else's."""
        return self.origin != self.face.subject_id


def move_face(
    transaction: Transaction[IndexChange], keyring: Keyring, collection: str, face_id: str, subject: str
) -> MovedFace:
    """Give a face to another person of its collection, who is made when new; its own person stays, perhaps without one.

    A face that is this person's already stays as it is. The answer kept of the request that enrolled it is dropped:
    that request enrols nothing when it comes again.

    Raises:
        CollectionNotFound: There is no collection of that name.
        FaceNotFound: The collection has no face of that id, or only of somebody who has expired.
        NameInvalid: Nobody can have that name.
        TemplateDamaged: A template of the face is damaged, and belongs to nobody.
    """
    connection = transaction.connection
    in_collection = queries.collection_row(connection, collection)
    condition = sa.and_(faces.c.id == face_id, faces.c.collection_row == in_collection)
    queries.lock_faces(connection, condition)
    query = sa.select(faces.c.row, faces.c.subject_row, subjects.c.id).join(
        subjects, faces.c.subject_row == subjects.c.row
    )
    row = connection.execute(query.where(condition, queries.LIVING)).one_or_none()
    if row is None:
        raise FaceNotFound(collection, face_id)
    name = check_name("subject", subject)
    if queries.has_expired(connection, in_collection, name):
        erase_expired(transaction, collection, name)
    target = _claim(connection, in_collection, name)
    if target != row.subject_row:
        kept_outcomes.erase(connection, [row.id], face_id)
        _rehome(transaction, keyring, [row.row], in_collection, target)
        _touch(connection, row.subject_row, target)
    return MovedFace(queries.face(connection, collection, face_id), row.id)


def merge_subjects(
    transaction: Transaction[IndexChange],
    keyring: Keyring,
    collection: str,
    subject: str,
    other: str,
    idempotency: Idempotency | None = None,
    until: datetime | None = None,
) -> Merger:
    """Give all faces of another person to a subject; the other record is no more. Name, metadata and date stay its own.

    Args:
        transaction: Open.
        keyring: Opens and seals templates.
        collection: Of both.
        subject: Name of the one who stays.
        other: Name of the one who is found to be the same.
        idempotency: Keep the outcome under this key, and give it back when the same request comes again.
        until: How long it is kept.

    Raises:
        CollectionNotFound: There is no collection of that name.
        SubjectNotFound: The collection lacks one of them.
        SamePerson: They are one already.
        IdempotencyConflict: The key named another request.
        EnrolmentErased: What was merged under this key was erased since.
        TemplateDamaged: A template of the other is damaged, and belongs to nobody.
    """
    connection = transaction.connection
    in_collection = queries.collection_row(connection, collection)
    serialise(connection, f"merge {in_collection}")
    if idempotency is not None:
        kept = kept_outcomes.recall_merger(connection, idempotency)
        if kept is not None:
            return kept
    target = queries.subject_row(connection, collection, subject, lock=True)
    origin = queries.subject_row(connection, collection, other, lock=True)
    if target == origin:
        raise SamePerson(subject)
    rows = list(
        connection.scalars(
            sa.select(faces.c.row).where(faces.c.subject_row == origin).order_by(faces.c.row).with_for_update()
        )
    )
    _rehome(transaction, keyring, rows, in_collection, target)
    before = queries.subject(connection, collection, other)
    connection.execute(sa.delete(subjects).where(subjects.c.row == origin))
    _touch(connection, target)
    after = queries.subject(connection, collection, subject)
    kept_outcomes.reassign(connection, before.id, after.id)
    outcome = Merger(after, before.id, len(rows), "" if idempotency is None else idempotency.request_id)
    if idempotency is not None and until is not None:
        kept_outcomes.keep(connection, idempotency, outcome, until)
    return outcome


def _claim(connection: sa.Connection, collection_row: int, name: str) -> int:
    """The row of a subject, locked, who is made when new."""
    same = sa.and_(subjects.c.collection_row == collection_row, subjects.c.name == name)
    row = connection.scalar(sa.select(subjects.c.row).where(same).with_for_update())
    if row is not None:
        return int(row)
    at = now()
    values = {
        "id": new_id(),
        "collection_row": collection_row,
        "name": name,
        "metadata": {},
        "created_at": at,
        "updated_at": at,
    }
    return row_of(connection.execute(sa.insert(subjects), values))


def _rehome(
    transaction: Transaction[IndexChange], keyring: Keyring, face_rows: list[int], collection_row: int, subject_row: int
) -> None:
    """Give faces, by their rows, which are locked, to a subject."""
    reader = TemplateReader(keyring)
    for face_row in face_rows:
        query = sa.select(*STORED, models.c.dim).join(models, templates.c.model_row == models.c.row)
        entries = transaction.connection.execute(query.where(templates.c.face_row == face_row)).all()
        opened = []
        for entry in entries:
            sound, matrix = reader.read([entry], entry.dim)
            if not sound.all():
                raise TemplateDamaged("a damaged template cannot be given to another person: erase its face")
            opened.append((entry.model_row, matrix[0]))
        remove_templates(transaction, templates.c.face_row == face_row)
        transaction.connection.execute(sa.update(faces).where(faces.c.row == face_row).values(subject_row=subject_row))
        for model_row, vector in opened:
            insert_template(transaction, keyring, FaceRow(face_row, collection_row, subject_row), model_row, vector)


def _touch(connection: sa.Connection, *rows: int) -> None:
    connection.execute(sa.update(subjects).where(subjects.c.row.in_(rows)).values(updated_at=now()))
