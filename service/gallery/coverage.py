"""Which enrolled faces have a template of which models."""

from __future__ import annotations

from collections.abc import Sequence

import sqlalchemy as sa

from service.gallery import queries
from service.gallery.schema import collections, faces, models, templates


def models_in(connection: sa.Connection, collection: str, subject: str | None = None) -> tuple[str, ...]:
    """Digests of the models with templates in a collection, or of one of its subjects.

    Raises:
        CollectionNotFound, SubjectNotFound: there is none.
    """
    if subject is None:
        inside = templates.c.collection_row == queries.collection_row(connection, collection)
        return queries.models_of(connection, inside)
    row = queries.subject_row(connection, collection, subject)
    return queries.models_of(connection, templates.c.face_row.in_(sa.select(faces.c.row).where(_of_subject(row))))


def faces_without(
    connection: sa.Connection, collection: str, digests: Sequence[str], subject: str | None = None
) -> int:
    """How many faces of a collection, or of one of its subjects, have no template of any of these models.

    Reads every face: the larger the collection, the longer it takes.

    Raises:
        CollectionNotFound, SubjectNotFound: there is none.
    """
    if subject is None:
        inside = faces.c.collection_row == queries.collection_row(connection, collection)
    else:
        inside = _of_subject(queries.subject_row(connection, collection, subject))
    rows = list(connection.scalars(sa.select(models.c.row).where(models.c.digest.in_(digests))))
    held = sa.exists().where(templates.c.face_row == faces.c.row, templates.c.model_row.in_(rows)).correlate(faces)
    return int(connection.scalar(sa.select(sa.func.count()).select_from(faces).where(inside, ~held)) or 0)


def _of_subject(row: int) -> sa.ColumnElement[bool]:
    return faces.c.subject_row == row


def shortfalls(connection: sa.Connection, digests: Sequence[str]) -> dict[str, int]:
    """Collections in which faces lack a template of all these models, and how many faces do."""
    rows = list(connection.scalars(sa.select(models.c.row).where(models.c.digest.in_(digests))))
    held = sa.exists().where(templates.c.face_row == faces.c.row, templates.c.model_row.in_(rows)).correlate(faces)
    asked = (
        sa.select(collections.c.name, sa.func.count())
        .join(faces, faces.c.collection_row == collections.c.row)
        .where(~held)
        .group_by(collections.c.row)
        .order_by(collections.c.row)
    )
    return {name: int(count) for name, count in connection.execute(asked)}
