"""What every erasure does: templates leave the database and the indexes, and a receipt proves it."""

from __future__ import annotations

from collections import defaultdict

import sqlalchemy as sa

from service.database.schema import new_id, now, receipts, templates
from service.database.transaction import Transaction
from service.gallery.records import Receipt
from service.index.changes import IndexChange, Removed


def remove_templates(transaction: Transaction[IndexChange], condition: sa.ColumnElement[bool]) -> int:
    """Remove templates from the database and from the indexes; returns how many."""
    query = sa.delete(templates).where(condition)
    entries = transaction.connection.execute(
        query.returning(templates.c.row, templates.c.collection_row, templates.c.model_row)
    ).all()
    by_place: dict[tuple[int, int], list[int]] = defaultdict(list)
    for row, collection, model in entries:
        by_place[collection, model].append(row)
    transaction.changes.extend(Removed(*place, tuple(sorted(rows))) for place, rows in by_place.items())
    return len(entries)


def write_receipt(
    transaction: Transaction[IndexChange],
    kind: str,
    target: str,
    lost: int,
    removed: int,
    collection: str | None = None,
) -> Receipt:
    """Prove that `lost` faces and `removed` templates are gone from a collection, or from all (None)."""
    receipt = Receipt(new_id(), kind, target, lost, removed, now())
    transaction.connection.execute(
        sa.insert(receipts).values(
            id=receipt.id, kind=kind, target=target, faces=lost, templates=removed, at=receipt.at, collection=collection
        )
    )
    return receipt
