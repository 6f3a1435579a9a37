"""Which enrolled faces have a template of which models."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import sqlalchemy as sa

from service.database.schema import collections, crops, faces, models, subjects, templates
from service.gallery import queries

AT_ONCE = 500  # subjects a statement: a crowd has more candidates than one may name


@dataclass(frozen=True, slots=True)
class Coverage:
    """How far a model reaches in one collection, in faces."""

    collection: str
    faces: int
    templates: int
    """Faces with a template of the model itself."""
    shared: int
    """Faces without one, and with one of another model of its space."""
    from_crops: int
    """Faces without a template of the model itself whose crop is kept: one can be made."""
    out_of_reach: int
    """Faces without any template of its space: no probe of the model finds them."""
    to_be_seen: int
    """Those among them without a crop: only a new photograph brings them into reach."""


def cover(
    connection: sa.Connection, digest: str, space: Sequence[str], reachable: Sequence[str] | None = None
) -> list[Coverage]:
    """Count how far a model reaches in every collection, or in those named. Reads every face.

    Args:
        connection: To the database.
        digest: The model.
        space: Digests of all models of its space, its own too.
        reachable: Names of the collections to look at; None for all.
    """
    own, near = _held(connection, [digest]), _held(connection, space)
    has_crop = sa.exists().where(crops.c.face_row == faces.c.row).correlate(faces)

    def count(condition: sa.ColumnElement[bool]) -> sa.ColumnElement[int]:
        return sa.func.coalesce(sa.func.sum(sa.case((condition, 1), else_=0)), 0)

    query = (
        sa.select(
            collections.c.name,
            sa.func.count(faces.c.row),
            count(own),
            count(~own & near),
            count(~own & has_crop),
            count(~near),
            count(~near & ~has_crop),
        )
        .join(faces, faces.c.collection_row == collections.c.row)
        .group_by(collections.c.row, collections.c.name)
        .order_by(collections.c.row)
    )
    if reachable is not None:
        query = query.where(collections.c.name.in_(reachable))
    return [Coverage(name, *map(int, counts)) for name, *counts in connection.execute(query)]


def models_in(connection: sa.Connection, collection: str, subject: str | None = None) -> tuple[str, ...]:
    """Return digests of the models with templates in a collection, or of one of its subjects.

    Raises:
        CollectionNotFound: There is no collection of that name.
        SubjectNotFound: The collection has no subject of that name.
    """
    if subject is None:
        in_scope = templates.c.collection_row == queries.collection_row(connection, collection)
        return queries.models_of(connection, in_scope)
    row = queries.subject_row(connection, collection, subject)
    return queries.models_of(connection, templates.c.face_row.in_(sa.select(faces.c.row).where(_of_subject(row))))


def faces_without(
    connection: sa.Connection, collection: str, digests: Sequence[str], subject: str | None = None
) -> int:
    """Count the faces of a collection, or of one of its subjects, without a template of any of these models.

    Reads every face: the larger the collection, the longer it takes.

    Raises:
        CollectionNotFound: There is no collection of that name.
        SubjectNotFound: The collection has no subject of that name.
    """
    if subject is None:
        in_scope = faces.c.collection_row == queries.collection_row(connection, collection)
    else:
        in_scope = _of_subject(queries.subject_row(connection, collection, subject))
    lacking = sa.select(sa.func.count()).select_from(faces).where(in_scope, ~_held(connection, digests))
    return int(connection.scalar(lacking) or 0)


def shortfalls(
    connection: sa.Connection, digests: Sequence[str], of: str | None = None, collection: str | None = None
) -> dict[str, int]:
    """Return collections in which faces lack a template of all these models, and how many faces do.

    With `of`, only faces that have a template of that model count; with `collection`, only those of that collection.
    """
    query = (
        sa.select(collections.c.name, sa.func.count())
        .join(faces, faces.c.collection_row == collections.c.row)
        .where(~_held(connection, digests))
        .group_by(collections.c.row, collections.c.name)
        .order_by(collections.c.row)
    )
    if of is not None:
        query = query.where(_held(connection, [of]))
    if collection is not None:
        query = query.where(collections.c.name == collection)
    return {name: int(count) for name, count in connection.execute(query)}


def _held(connection: sa.Connection, digests: Sequence[str]) -> sa.ColumnElement[bool]:
    """Whether a face has a template of any of these models."""
    rows = list(connection.scalars(sa.select(models.c.row).where(models.c.digest.in_(digests))))
    held = sa.exists().where(templates.c.face_row == faces.c.row, templates.c.model_row.in_(rows))
    return held.correlate(faces)


def _of_subject(row: int) -> sa.ColumnElement[bool]:
    return faces.c.subject_row == row


def people(connection: sa.Connection, collection: str, digests: Sequence[str]) -> int:
    """Count the subjects of a collection with templates of these models.

    Raises:
        CollectionNotFound: There is no collection of that name.
    """
    row = queries.collection_row(connection, collection)
    query = (
        sa.select(sa.func.count(sa.distinct(templates.c.subject_row)))
        .join(models, templates.c.model_row == models.c.row)
        .where(templates.c.collection_row == row, models.c.digest.in_(digests))
    )
    return int(connection.scalar(query) or 0)


def pictures_of(
    connection: sa.Connection, collection: str, subject_ids: Sequence[str], digests: Sequence[str]
) -> dict[str, int]:
    """Count, by the id of each subject, the different photographs of which it has templates of these models.

    Raises:
        CollectionNotFound: There is no collection of that name.
    """
    row = queries.collection_row(connection, collection)
    query = (
        sa.select(subjects.c.id, sa.func.count(sa.distinct(faces.c.source_sha256)))
        .join(faces, faces.c.subject_row == subjects.c.row)
        .join(templates, templates.c.face_row == faces.c.row)
        .join(models, templates.c.model_row == models.c.row)
        .where(subjects.c.collection_row == row, models.c.digest.in_(digests))
        .group_by(subjects.c.id)
    )
    counts: dict[str, int] = {}
    for start in range(0, len(subject_ids), AT_ONCE):
        some = query.where(subjects.c.id.in_(subject_ids[start : start + AT_ONCE]))
        counts |= {entry[0]: int(entry[1]) for entry in connection.execute(some)}
    return counts


def pictures(connection: sa.Connection, collection: str, subject: str, digests: Sequence[str]) -> int:
    """Count the different photographs of which a subject has templates of these models: copies count once.

    Raises:
        CollectionNotFound: There is no collection of that name.
        SubjectNotFound: The collection has no subject of that name.
    """
    row = queries.subject_row(connection, collection, subject)
    query = (
        sa.select(sa.func.count(sa.distinct(faces.c.source_sha256)))
        .join(templates, templates.c.face_row == faces.c.row)
        .join(models, templates.c.model_row == models.c.row)
        .where(faces.c.subject_row == row, models.c.digest.in_(digests))
    )
    return int(connection.scalar(query) or 0)
