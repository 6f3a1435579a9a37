"""Collections made, changed, erased and counted: functions of a transaction or a connection."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import sqlalchemy as sa

from service.database.schema import collections, faces, now, subjects, templates
from service.database.timeouts import without_timeouts
from service.database.transaction import Transaction
from service.gallery import queries
from service.gallery.changes import kept_outcomes
from service.gallery.changes.erasure import write_receipt
from service.gallery.errors import CollectionExists
from service.gallery.names import check_name
from service.gallery.records import Collection, Receipt
from service.index.changes import Dropped, IndexChange


@dataclass(frozen=True, slots=True)
class Members:
    """How many people, and faces of theirs, are enrolled in a collection."""

    subjects: int = 0
    faces: int = 0


def create_collection(
    transaction: Transaction[IndexChange],
    name: str,
    keep_crops: bool,
    metadata: Mapping[str, Any],
    quality: str | None = None,
) -> Collection:
    """Make a new, empty collection.

    Raises:
        NameInvalid: The name cannot be given.
        CollectionExists: The name is taken.
    """
    values = {"name": check_name("collection", name), "keep_crops": keep_crops, "metadata": dict(metadata)}
    values["quality"] = quality
    try:
        transaction.connection.execute(sa.insert(collections).values(created_at=now(), **values))
    except sa.exc.IntegrityError:
        raise CollectionExists(name) from None
    return queries.collection(transaction.connection, name)


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


def delete_collection(transaction: Transaction[IndexChange], name: str) -> Receipt:
    """Erase a collection with everything in it.

    Raises:
        CollectionNotFound: There is none.
    """
    row = queries.collection_row(transaction.connection, name, lock=True)
    with without_timeouts(transaction.connection):
        kept_outcomes.erase(transaction.connection, sa.select(subjects.c.id).where(subjects.c.collection_row == row))
        queries.lock_faces(transaction.connection, faces.c.collection_row == row)
        removed = transaction.connection.execute(sa.delete(templates).where(templates.c.collection_row == row)).rowcount
        lost = transaction.connection.execute(sa.delete(faces).where(faces.c.collection_row == row)).rowcount
        transaction.connection.execute(sa.delete(collections).where(collections.c.row == row))
    transaction.changes.append(Dropped(row))
    return write_receipt(transaction, "collection", name, lost, removed, name)


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
