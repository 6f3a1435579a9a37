"""Rows whose time is up, deleted a part at a time: however many have gathered, nobody waits long for one part."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import sqlalchemy as sa

from service.database.base import Database

AT_ONCE = 10_000
"""Rows in one transaction: a database server ends a statement that takes too long, and then nothing would leave."""


def delete_oldest(connection: sa.Connection, row: sa.Column[int], condition: sa.ColumnElement[bool]) -> int:
    """Delete some of a table's rows under a condition, by the order of their `row`; returns how many, 0 at last."""
    oldest = sa.select(row).where(condition).order_by(row).limit(AT_ONCE)
    return connection.execute(sa.delete(row.table).where(row.in_(oldest))).rowcount


def prune_all(database: Database[Any], prune: Callable[[sa.Connection], int]) -> int:
    """Let `prune` delete until nothing is left to delete, each part in a transaction of its own; returns how many.

    Raises:
        StorageError: The database does not take it.
    """
    return sum(iter(lambda: database.write(prune), 0))
