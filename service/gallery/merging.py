"""Two subjects that turned out to be one person become one."""

from __future__ import annotations

import sqlalchemy as sa

from service.database.errors import TemplateDamaged
from service.database.schema import faces, models, now, subjects, templates
from service.database.template_seal import STORED
from service.database.transaction import Transaction
from service.gallery import kept_outcomes, queries
from service.gallery.changes import remove_templates
from service.gallery.insertion import FaceRow, insert_template
from service.gallery.records import Subject
from service.index.changes import IndexChange
from service.index.stored_templates import TemplateReader


def merge_subjects(
    transaction: Transaction[IndexChange], reader: TemplateReader, collection: str, name: str, into: str
) -> Subject:
    """Give all faces of one subject to another; the first is no more. Faces keep their ids and their crops.

    A template is sealed for the person it belongs to, so each is made anew in its new place.

    Raises:
        CollectionNotFound: There is no collection of that name.
        SubjectNotFound: The collection has no subject of one of the names.
        TemplateDamaged: One of the templates is damaged.
    """
    connection = transaction.connection
    source = queries.subject_row(connection, collection, name, lock=True)
    target = queries.subject_row(connection, collection, into, lock=True)
    if source != target:
        own = templates.c.face_row.in_(sa.select(faces.c.row).where(faces.c.subject_row == source))
        query = sa.select(*STORED, models.c.dim).join(models, templates.c.model_row == models.c.row)
        entries = connection.execute(query.where(own).order_by(templates.c.row)).all()
        moved = []
        for entry in entries:
            _, matrix = reader.read([entry], entry.dim)
            if not len(matrix):
                raise TemplateDamaged("the subject is not merged with another while one of its templates is damaged")
            moved.append(matrix[0])
        remove_templates(transaction, own)
        connection.execute(sa.update(faces).where(faces.c.subject_row == source).values(subject_row=target))
        for entry, vector in zip(entries, moved, strict=True):
            place = FaceRow(entry.face_row, entry.collection_row, target)
            insert_template(transaction, reader.keyring, place, entry.model_row, vector)
        kept_outcomes.erase(connection, [str(connection.scalar(_ID.where(subjects.c.row == source)))])
        connection.execute(sa.delete(subjects).where(subjects.c.row == source))
        connection.execute(sa.update(subjects).where(subjects.c.row == target).values(updated_at=now()))
    return queries.subject(connection, collection, into)


_ID = sa.select(subjects.c.id)
