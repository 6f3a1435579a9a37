"""Changes on their way to an index outside the database.

They are written in the transaction that makes them and taken, in order, by one process at a time. An addition stays
after it was taken, until the index was seen to show it: so long, searches read it from here.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Any

import sqlalchemy as sa

from service.database.schema import outbox, templates
from service.database.template_seal import STORED
from service.index.base import Place
from service.index.changes import Added, IndexChange, Removed

SOME = 2_000
_FRESH = (
    sa.select(*STORED)
    .join(outbox, outbox.c.template_row == templates.c.row)
    .where(
        outbox.c.kind == "add",
        outbox.c.collection_row == sa.bindparam("collection"),
        outbox.c.model_row == sa.bindparam("model"),
    )
)


class Kind(StrEnum):
    """What the index has to do."""

    ADD = "add"
    REMOVE = "remove"
    DROP = "drop"


@dataclass(frozen=True, slots=True)
class Entry:
    """One change; a drop is of a whole collection."""

    row: int
    kind: Kind
    collection: int
    model: int | None
    template: int | None


def write(connection: sa.Connection, changes: Sequence[IndexChange]) -> None:
    """Note changes, in the transaction that makes them."""
    noted: list[dict[str, Any]] = []
    for change in changes:
        if isinstance(change, Added):
            noted.append(_noted(Kind.ADD, change.collection, change.model, change.row))
        elif isinstance(change, Removed):
            noted += [_noted(Kind.REMOVE, change.collection, change.model, row) for row in change.rows]
        else:
            noted.append(_noted(Kind.DROP, change.collection))
    if noted:
        connection.execute(sa.insert(outbox), noted)


def write_all(connection: sa.Connection, model: int) -> None:
    """Note every template of a model, for an index that has none of them."""
    connection.execute(sa.delete(outbox).where(outbox.c.model_row == model))
    every = sa.select(
        sa.literal(str(Kind.ADD)), templates.c.collection_row, templates.c.model_row, templates.c.row
    ).where(templates.c.model_row == model)
    columns = ["kind", "collection_row", "model_row", "template_row"]
    connection.execute(sa.insert(outbox).from_select(columns, every.order_by(templates.c.row)))


def waiting(connection: sa.Connection) -> tuple[int, int | None]:
    """Return how many changes the index has still to follow, and the row of the oldest of them."""
    count, oldest = connection.execute(
        sa.select(sa.func.count(), sa.func.min(outbox.c.row)).where(outbox.c.applied_at.is_(None))
    ).one()
    return int(count), oldest


def holds(connection: sa.Connection) -> bool:
    """Return whether anything is here."""
    return connection.scalar(sa.select(outbox.c.row).limit(1)) is not None


def take(connection: sa.Connection) -> list[Entry]:
    """Return the oldest changes that the index has still to follow."""
    return _entries(connection, outbox.c.applied_at.is_(None))


def ripe(connection: sa.Connection, seconds: float) -> list[Entry]:
    """Return the oldest additions that the index took longer ago than this, by the database's own clock."""
    old = sa.func.clock_timestamp() - sa.func.make_interval(0, 0, 0, 0, 0, 0, seconds)
    return _entries(connection, outbox.c.applied_at < old)


def confirm(connection: sa.Connection, done: Sequence[Entry]) -> None:
    """Note that the index has followed; only additions are still of interest."""
    added = [entry.row for entry in done if entry.kind is Kind.ADD]
    others = [entry.row for entry in done if entry.kind is not Kind.ADD]
    if added:
        taken = sa.update(outbox).where(outbox.c.row.in_(added))
        connection.execute(taken.values(applied_at=sa.func.clock_timestamp()))
    if others:
        connection.execute(sa.delete(outbox).where(outbox.c.row.in_(others)))


def forget(connection: sa.Connection, shown: Sequence[Entry]) -> None:
    """Drop additions that the index shows: from here on searches rely on it for them."""
    connection.execute(sa.delete(outbox).where(outbox.c.row.in_([entry.row for entry in shown])))


def repeat(connection: sa.Connection, lost: Sequence[Entry]) -> None:
    """Let the index follow these again, which it took and does not show."""
    rows = [entry.row for entry in lost]
    connection.execute(sa.update(outbox).where(outbox.c.row.in_(rows)).values(applied_at=None))


def fresh(connection: sa.Connection, place: Place) -> list[sa.Row[Any]]:
    """Return templates of a collection and model that the index may not show yet, with the columns `STORED`."""
    return list(connection.execute(_FRESH, {"collection": place[0], "model": place[1]}))


def has_left(connection: sa.Connection, model: int, collection: int | None = None) -> bool:
    """Return whether a model, or one collection of it, has templates that are not here: the index must answer."""
    here = sa.exists().where(outbox.c.template_row == templates.c.row, outbox.c.kind == "add").correlate(templates)
    query = sa.select(templates.c.row).where(templates.c.model_row == model, ~here)
    if collection is not None:
        query = query.where(templates.c.collection_row == collection)
    return connection.scalar(query.limit(1)) is not None


def _entries(connection: sa.Connection, condition: sa.ColumnElement[bool]) -> list[Entry]:
    rows = connection.execute(sa.select(outbox).where(condition).order_by(outbox.c.row).limit(SOME))
    return [Entry(row.row, Kind(row.kind), row.collection_row, row.model_row, row.template_row) for row in rows]


def _noted(kind: Kind, collection: int, model: int | None = None, template: int | None = None) -> dict[str, Any]:
    return {"kind": str(kind), "collection_row": collection, "model_row": model, "template_row": template}
