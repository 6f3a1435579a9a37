"""What every index is derived from: the templates of the database, by their rows."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import sqlalchemy as sa

from service.database.schema import collections, models, store, templates
from service.database.template_seal import STORED
from service.index.base import Matrix, Place, Rows, among
from service.index.stored_templates import TemplateReader

CHUNK = 16_384


def places(connection: sa.Connection) -> list[tuple[Place, str, str, int, int]]:
    """List every (collection, model) that has templates: rows, name, model digest, dimension, templates."""
    counts = (
        sa.select(templates.c.collection_row, templates.c.model_row, sa.func.count().label("total"))
        .group_by(templates.c.collection_row, templates.c.model_row)
        .subquery()
    )
    query = (
        sa.select(counts, collections.c.name, models.c.digest, models.c.dim)
        .join(collections, counts.c.collection_row == collections.c.row)
        .join(models, counts.c.model_row == models.c.row)
    )
    return [((e.collection_row, e.model_row), e.name, e.digest, e.dim, e.total) for e in connection.execute(query)]


def count_templates(connection: sa.Connection) -> int:
    """Count all templates, of whatever collection and model."""
    return int(connection.scalar(sa.select(sa.func.count()).select_from(templates)) or 0)


def template_rows(connection: sa.Connection, place: Place) -> Rows:
    """Return rows of all templates of a collection and model, ascending."""
    query = sa.select(templates.c.row).where(templates.c.collection_row == place[0], templates.c.model_row == place[1])
    return np.fromiter(connection.scalars(query.order_by(templates.c.row)), np.int64)


def last_template_row(connection: sa.Connection) -> int:
    """Return the highest row that was ever given to a template."""
    postgresql = connection.dialect.name == "postgresql"
    query = (
        "SELECT last_value FROM templates_row_seq"
        if postgresql
        else "SELECT seq FROM sqlite_sequence WHERE name = 'templates'"
    )
    return int(connection.scalar(sa.text(query)) or 0)


def store_id(connection: sa.Connection) -> str:
    """Return the identity given to the database when it was made."""
    return str(connection.scalar(sa.select(store.c.value).where(store.c.name == "id")))


def read_templates(
    connection: sa.Connection, reader: TemplateReader, place: Place, dim: int, wanted: Rows
) -> Iterator[tuple[Rows, Rows, Matrix]]:
    """Yield the `wanted` templates of a collection and model, in parts by row: rows, groups, float32 vectors.

    Damaged ones are left out.
    """
    if len(wanted) == 0:
        return
    query = (
        sa.select(*STORED)
        .where(templates.c.collection_row == place[0], templates.c.model_row == place[1])
        .where(templates.c.row.between(int(wanted[0]), int(wanted[-1])))
        .order_by(templates.c.row)
    )
    for part in connection.execution_options(yield_per=CHUNK).execute(query).partitions():
        among_wanted = among(np.array([entry.row for entry in part], np.int64), wanted)
        chosen = [entry for entry, is_wanted in zip(part, among_wanted.tolist(), strict=True) if is_wanted]
        sound, matrix = reader.read(chosen, dim)
        if sound.any():
            rows = np.array([entry.row for entry in chosen], np.int64)[sound]
            yield rows, np.array([entry.subject_row for entry in chosen], np.int64)[sound], matrix
