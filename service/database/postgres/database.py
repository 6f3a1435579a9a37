"""The database of many processes on one PostgreSQL: each change a transaction of its own, whoever makes it."""

from __future__ import annotations

import random
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from typing import Any, TypeAlias, TypeVar

import sqlalchemy as sa

from service.database.base import Database
from service.database.errors import StorageBusy
from service.database.postgres.deferred import Deferred
from service.database.postgres.engine import PostgresOptions, connect_postgres
from service.database.transaction import Transaction, serialise, storage_error, storage_errors
from service.database.upgrades import upgrade

T = TypeVar("T")
E = TypeVar("E")
ATTEMPTS = 6
RETRIED = ("40001", "40P01", "23", "42P07")
"""SQLSTATEs of transactions that lost a race against another one: whoever tries again sees what the other has done."""

Stage: TypeAlias = Callable[[sa.Connection, Sequence[E]], None]


class PostgresDatabase(Database[E]):
    """A `Database` on PostgreSQL. Any number of processes may use the same one."""

    def __init__(self, options: PostgresOptions) -> None:
        """Connect and bring the schema up to date.

        Raises:
            StorageError: The server cannot be used.
        """
        self.engine = connect_postgres(options)
        self._gate = threading.BoundedSemaphore(options.connections + options.queue)
        self._stage: Stage[E] = _nothing
        self._waiting = 0
        self._counting = threading.Lock()
        try:
            with storage_errors():
                upgrade(self.engine)
        except BaseException:
            self.engine.dispose()
            raise
        self._deferred = Deferred(self._transact)
        self._begun = ThreadPoolExecutor(options.connections, thread_name_prefix="database-write")

    def follow(self, stage: Stage[E]) -> None:
        """Let `stage` take the changes of each transaction to whatever follows them, before the commit."""
        self._stage = stage

    @property
    def waiting(self) -> int:
        """Calls that wait for a connection."""
        return self._waiting

    def read(self, work: Callable[[sa.Connection], T]) -> T:
        """Read; each statement sees what was committed before it began, by whatever process."""
        with self._admitted(), storage_errors(), self._connected() as connection:
            return work(connection)

    def change(self, work: Callable[[Transaction[E]], T]) -> T:
        """Run `work` in a transaction of its own, and again when another one was in its way."""
        with self._admitted():
            for attempt in range(1, ATTEMPTS + 1):
                try:
                    return self._transact(work)
                except sa.exc.DBAPIError as error:
                    if attempt == ATTEMPTS or not _is_lost_race(error):
                        raise storage_error(error) from error
                    time.sleep(random.random() * 0.01 * 2**attempt)  # noqa: S311 - no secret
                except sa.exc.TimeoutError as error:
                    raise storage_error(error) from error
        raise AssertionError("unreachable")

    def change_alone(self, work: Callable[[Transaction[E]], T]) -> T:
        """Run `work` when no other work of this kind runs, in whatever process."""

        def alone(transaction: Transaction[E]) -> T:
            serialise(transaction.connection, "alone")
            return work(transaction)

        return self.change(alone)

    def begin_write(self, work: Callable[[sa.Connection], T]) -> Future[T]:
        """Wait for the server on another thread: there is one for each connection, made when it is needed."""
        return self._begun.submit(self.write, work)

    def defer(self, work: Callable[[Transaction[E]], Any]) -> None:
        """Run `work` in the background, with other such work; kept until the database takes it or this process ends."""
        self._deferred.add(work)

    def await_changes(self, seconds: float) -> None:
        """Wait for nothing: what a search must know of a change is committed with it."""

    def check(self) -> None:
        """Check nothing: reading says whether the database answers."""

    def tidy(self, *, copies: bool = True) -> None:
        """Do nothing: the server's vacuum does that by itself."""

    def close(self) -> None:
        """Finish what was begun, and write what was deferred."""
        self._begun.shutdown()
        self._deferred.close()

    def release(self) -> None:
        """Close the connections."""
        self.engine.dispose()

    def _transact(self, work: Callable[[Transaction[E]], T]) -> T:
        with self._connected() as connection, connection.begin():
            transaction: Transaction[E] = Transaction(connection, ())
            result = work(transaction)
            if transaction.changes:
                self._stage(connection, transaction.changes)
        return result

    @contextmanager
    def _connected(self) -> Iterator[sa.Connection]:
        self._count(1)
        try:
            connection = self.engine.connect()
        finally:
            self._count(-1)
        with connection:
            yield connection

    def _count(self, more: int) -> None:
        with self._counting:
            self._waiting += more

    @contextmanager
    def _admitted(self) -> Iterator[None]:
        if not self._gate.acquire(blocking=False):
            raise StorageBusy
        try:
            yield
        finally:
            self._gate.release()


def _nothing(_: sa.Connection, __: Sequence[Any]) -> None:
    """Nothing follows."""


def _is_lost_race(error: sa.exc.DBAPIError) -> bool:
    state = getattr(error.orig, "sqlstate", None) or ""
    return state.startswith(RETRIED)
