"""Messages that wait to be delivered, in the database: put in, taken by one process at a time, dropped when delivered.

Who takes a message moves the moment at which it is due to where a try must have ended. So nobody else takes it
meanwhile, and where its process dies it is due again by itself. The moments are of the database's own clock, which all
processes share.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

import sqlalchemy as sa

from service.database.schema import Moment, now, subjects
from service.database.schema import webhook_messages as table
from service.gallery.queries import LIVING


@dataclass(frozen=True, slots=True)
class Message:
    """What happened, by ids: `id` is the event's, `data` what its receivers are told."""

    id: str
    at: datetime
    event: str
    data: Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class Delivery:
    """A message taken for a try, the `tries`-th."""

    row: int
    message: Message
    tries: int


@dataclass(frozen=True, slots=True)
class Waiting:
    """How many messages a receiver has still to be told, and since when the oldest waits."""

    messages: int
    oldest: datetime | None


def put(connection: sa.Connection, endpoint: str, messages: Sequence[Message], most: int) -> int:
    """Keep messages for a receiver, due at once, as long as no more than `most` wait; returns how many were kept."""
    free = max(0, most - waiting(connection, endpoint).messages)
    due_at = _clock(connection)
    rows = [
        {
            "id": message.id,
            "at": message.at,
            "endpoint": endpoint,
            "event": message.event,
            "data": dict(message.data),
            "tries": 0,
            "due_at": due_at,
        }
        for message in messages[:free]
    ]
    if rows:
        connection.execute(sa.insert(table), rows)
    return len(rows)


def take(connection: sa.Connection, endpoint: str, seconds: float) -> Delivery | None:
    """Take the message that is due first, for a try of so many seconds; None where none is due."""
    at = _clock(connection)
    due = sa.select(table).where(table.c.endpoint == endpoint, table.c.due_at <= at)
    row = connection.execute(
        due.order_by(table.c.due_at, table.c.row).limit(1).with_for_update(skip_locked=True)
    ).one_or_none()
    if row is None:
        return None
    until = {"tries": row.tries + 1, "due_at": at + timedelta(seconds=seconds)}
    connection.execute(sa.update(table).where(table.c.row == row.row).values(**until))
    return Delivery(row.row, Message(row.id, row.at, row.event, row.data), row.tries + 1)


def drop(connection: sa.Connection, delivery: Delivery) -> None:
    """Forget a message that was delivered or given up."""
    connection.execute(sa.delete(table).where(table.c.row == delivery.row))


def postpone(connection: sa.Connection, delivery: Delivery, seconds: float) -> None:
    """Try a message again in so many seconds, unless somebody has taken it since."""
    mine = sa.update(table).where(table.c.row == delivery.row, table.c.tries == delivery.tries)
    connection.execute(mine.values(due_at=_clock(connection) + timedelta(seconds=seconds)))


def prune(connection: sa.Connection, days: float) -> int:
    """Forget messages older than so many days: their receiver is no longer set; returns how many."""
    return connection.execute(sa.delete(table).where(table.c.at < now() - timedelta(days=days))).rowcount


def waiting(connection: sa.Connection, endpoint: str) -> Waiting:
    """What a receiver has still to be told."""
    query = sa.select(sa.func.count(), sa.func.min(table.c.at)).where(table.c.endpoint == endpoint)
    return Waiting(*connection.execute(query).one())


def names_of(connection: sa.Connection, message: Message) -> dict[str, str]:
    """The names that a message's people have now, by id; who was erased since, or whose date has come, has none."""
    ids = [each["id"] for each in message.data.get("subjects", [])]
    rows = connection.execute(sa.select(subjects.c.id, subjects.c.name).where(subjects.c.id.in_(ids), LIVING))
    return {row.id: row.name for row in rows}


def _clock(connection: sa.Connection) -> datetime:
    if connection.dialect.name != "postgresql":
        return now()  # one process has the file
    at: datetime = connection.execute(sa.select(sa.func.clock_timestamp(type_=Moment))).scalar_one()
    return at
