"""The database of one process, in one folder: SQLite, with one thread that writes."""

from __future__ import annotations

import shutil
import time
from collections.abc import Callable, Sequence
from concurrent.futures import Future
from datetime import datetime
from pathlib import Path
from typing import Any, TypeVar

import sqlalchemy as sa

from service.database.base import Database
from service.database.errors import StorageFull, StorageReadOnly
from service.database.schema import receipts, store
from service.database.sqlite.copies import KEPT_SECONDS, drop_before
from service.database.sqlite.engine import DirectoryLock, checkpoint, open_engine
from service.database.sqlite.writer import Writer
from service.database.transaction import Transaction, storage_errors

T = TypeVar("T")
E = TypeVar("E")
LEAST_FREE = 1 << 20
"""Bytes of the disk with which no change can be relied on."""
_NOTHING = sa.update(store).where(store.c.name == "id").values(value=store.c.value)


class SqliteDatabase(Database[E]):
    """A `Database` in a folder that this process alone has open."""

    def __init__(self, directory: Path) -> None:
        """Open or create it.

        Raises:
            StorageLocked: Another process has it open.
            StorageError: It cannot be opened.
        """
        self._directory = directory
        self._lock = DirectoryLock(directory)
        try:
            self.engine = open_engine(directory)
            with storage_errors():
                drop_before(directory, time.time() - KEPT_SECONDS)
        except BaseException:
            self._lock.release()
            raise

    def start(self, apply: Callable[[Sequence[E]], None], queue: int) -> None:
        """Begin to write; `apply` takes committed changes to whatever follows them.

        Args:
            apply: Called before those who asked for the changes go on.
            queue: Changes that may wait; one more is refused with StorageBusy.
        """
        self._writer: Writer[E] = Writer(self.engine, apply, queue=queue)

    @property
    def waiting(self) -> int:
        """Changes that wait for the one writing thread."""
        return self._writer.waiting

    def read(self, work: Callable[[sa.Connection], T]) -> T:
        """Read beside the writer: readers see the last commit."""
        with storage_errors(), self.engine.connect() as connection:
            return work(connection)

    def change(self, work: Callable[[Transaction[E]], T]) -> T:
        """Change in the one writing thread; whatever waits together is committed together."""
        return self._writer.submit(work)

    def change_alone(self, work: Callable[[Transaction[E]], T]) -> T:
        """Change in the one writing thread, which is alone in any case."""
        return self._writer.submit(work)

    def begin_write(self, work: Callable[[sa.Connection], T]) -> Future[T]:
        """Leave it to the one writing thread, which ends the future."""
        return self._writer.begin(lambda transaction: work(transaction.connection))

    def defer(self, work: Callable[[Transaction[E]], Any]) -> None:
        """Run `work` with one of the next commits. A crash may lose the last moments of it."""
        self._writer.defer(work)

    def await_changes(self, seconds: float) -> None:
        """Wait for the end of the commit under way, if there is one."""
        self._writer.await_commit(seconds)

    def check(self) -> None:
        """Check that the writer goes on and that the disk has room; after a failed change, by trying another."""
        self._writer.check()
        if isinstance(self._writer.failure, StorageFull | StorageReadOnly):
            self._writer.submit(lambda transaction: transaction.connection.execute(_NOTHING))
        with storage_errors():
            if shutil.disk_usage(self._directory).free < LEAST_FREE:
                raise StorageFull

    def tidy(self, *, copies: bool = True) -> None:
        """Empty SQLite's log, and drop copies from before the schema changed that hold somebody erased.

        Raises:
            ErasureUnfinished: A reader still needs the log.
        """
        with storage_errors():
            if copies and (erased := self.read(_last_erasure)) is not None:
                drop_before(self._directory, erased.timestamp())
            checkpoint(self.engine)

    def close(self) -> None:
        """Finish what waits."""
        self._writer.close()

    def release(self) -> None:
        """Close the file and give the folder back."""
        self.engine.dispose()
        self._lock.release()


def _last_erasure(connection: sa.Connection) -> datetime | None:
    """When somebody or something was erased last."""
    at: datetime | None = connection.scalar(sa.select(receipts.c.at).order_by(receipts.c.row.desc()).limit(1))
    return at
