"""What changes of a collection after it was made, and how many it holds. Functions of a transaction or a connection."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import sqlalchemy as sa

from service.database.schema import collections, faces, subjects
from service.database.transaction import Transaction
from service.gallery import queries
from service.gallery.records import Collection
from service.index.changes import IndexChange


@dataclass(frozen=True, slots=True)
class Members:
    """How many people, and faces of theirs, are enrolled in a collection."""

    subjects: int = 0
    faces: int = 0


def update_collection(transaction: Transaction[IndexChange], name: str, values: Mapping[str, Any]) -> Collection:
    """Change some of `keep_crops`, `quality` and `metadata`. Crops that are kept already stay.

    Raises:
        CollectionNotFound: There is no collection of that name.
    """
    row = queries.collection_row(transaction.connection, name, lock=True)
    known = {key: values[key] for key in ("keep_crops", "quality", "metadata") if key in values}
    if known:
        transaction.connection.execute(sa.update(collections).where(collections.c.row == row).values(**known))
    return queries.collection(transaction.connection, name)


def members_of(connection: sa.Connection, names: Sequence[str]) -> dict[str, Members]:
    """Count who is in collections, by name. Reads an index entry of every one of them."""
    people, pictures = (_count(connection, table, names) for table in (subjects, faces))
    return {name: Members(people.get(name, 0), pictures.get(name, 0)) for name in names}


def _count(connection: sa.Connection, table: sa.Table, names: Sequence[str]) -> dict[str, int]:
    query = (
        sa.select(collections.c.name, sa.func.count())
        .join(table, table.c.collection_row == collections.c.row)
        .where(collections.c.name.in_(names))
        .group_by(collections.c.name)
    )
    return {str(name): int(count) for name, count in connection.execute(query)}
