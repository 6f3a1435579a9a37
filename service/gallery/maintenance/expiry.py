"""People who are enrolled until a date: erased by themselves when it has come, with a receipt."""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime
from functools import partial

import sqlalchemy as sa

from service.database.schema import collections, now, receipts, subjects
from service.database.transaction import Transaction
from service.gallery.changes.subjects import erase_expired
from service.gallery.gallery import Gallery
from service.gallery.records import Receipt
from service.index.changes import IndexChange

SOME = 100


class Expiry:
    """A task of the upkeep. The date stands in the database, so a stopped service catches up at its start.

    From that date on nobody finds the person (`queries.LIVING`); this is when the data go. The files are looked through
    after every erasure since the last time, whoever did it: one that was interrupted is finished here.
    """

    def __init__(self, gallery: Gallery, note: Callable[[Receipt, str], None]) -> None:
        """Erase in `gallery`; `note` is told of every receipt and its collection."""
        self._gallery, self._note = gallery, note
        self._finished: int | None = None
        """The last receipt of which the files hold nothing."""

    def __call__(self) -> int:
        """Erase everybody whose date has come; returns how many.

        Raises:
            StorageError: The database does not take it.
            ErasureUnfinished: Somebody still reads the old state; the next call goes on.
        """
        at, erased = now(), 0
        while due := self._gallery.database.read(partial(_due, at=at)):
            for subject_id in due:
                result = self._gallery.database.change(partial(_erase, subject_id=subject_id, at=at))
                if result is not None:
                    self._note(*result)
                    erased += 1
        last = self._gallery.database.read(lambda connection: connection.scalar(sa.select(sa.func.max(receipts.c.row))))
        if last != self._finished:
            self._gallery.erase_traces()
            self._finished = last
        return erased


def _due(connection: sa.Connection, at: datetime) -> list[str]:
    query = sa.select(subjects.c.id).where(subjects.c.expires_at <= at).order_by(subjects.c.expires_at).limit(SOME)
    return list(connection.scalars(query))


def _erase(transaction: Transaction[IndexChange], subject_id: str, at: datetime) -> tuple[Receipt, str] | None:
    """None where another process was first, or the date was moved meanwhile."""
    query = (
        sa.select(collections.c.name.label("collection"), subjects.c.name)
        .join(collections, subjects.c.collection_row == collections.c.row)
        .where(subjects.c.id == subject_id, subjects.c.expires_at <= at)
    )
    row = transaction.connection.execute(query.with_for_update(of=subjects)).one_or_none()
    if row is None:
        return None
    return erase_expired(transaction, row.collection, row.name), row.collection
