"""The gallery of many processes on one PostgreSQL: each change a transaction of its own, whoever makes it."""

from __future__ import annotations

import logging
import random
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from datetime import timedelta
from typing import Any, TypeVar

import sqlalchemy as sa

from service.database.deferred import Deferred
from service.database.postgres import Database, open_database
from service.database.sqlite import serialise, storage_error, storage_errors
from service.database.upgrades import upgrade
from service.database.writer import Turn
from service.gallery.errors import GalleryBusy
from service.gallery.gallery import KEEP_REPLY, Gallery, Observe, unobserved
from service.index.changes import Effect
from service.index.milvus.client import Server
from service.index.milvus.index import MilvusIndexes
from service.index.pgvector import PgvectorIndexes

log = logging.getLogger(__name__)
T = TypeVar("T")
ATTEMPTS = 6
RETRIED = ("40001", "40P01", "23", "42P07")
"""SQLSTATEs of transactions that lost a race against another one: whoever tries again sees what the other has done."""
Stage = Callable[[sa.Connection, Sequence[Effect]], None]


class ReplicatedStore:
    """A `Store` on PostgreSQL. Any number of processes may use the same one."""

    def __init__(self, database: Database) -> None:
        """Connect and bring the schema up to date. Raises: StorageError."""
        self.engine = open_database(database)
        self._gate = threading.BoundedSemaphore(database.connections + database.queue)
        self._stage: Stage = _nothing
        self._waiting = 0
        self._counting = threading.Lock()
        try:
            with storage_errors():
                upgrade(self.engine)
        except BaseException:
            self.engine.dispose()
            raise
        self._deferred = Deferred(self._transact)

    def follow(self, stage: Stage) -> None:
        """Let `stage` bring the effects of each change to the index, in the same transaction."""
        self._stage = stage

    @property
    def waiting(self) -> int:
        """Calls that wait for a connection."""
        return self._waiting

    def read(self, work: Callable[[sa.Connection], T]) -> T:
        """Each statement sees what was committed before it began, by whatever process."""
        with self._admitted(), storage_errors(), self._connected() as connection:
            return work(connection)

    def change(self, work: Callable[[Turn[Effect]], T]) -> T:
        """In a transaction of its own; begun again when another one was in its way."""
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

    def change_alone(self, work: Callable[[Turn[Effect]], T]) -> T:
        """One after the other in all processes."""

        def alone(turn: Turn[Effect]) -> T:
            serialise(turn.connection, "alone")
            return work(turn)

        return self.change(alone)

    def defer(self, work: Callable[[Turn[Effect]], Any]) -> None:
        """In the background, together with other such work; kept until the database takes it or this process ends."""
        self._deferred.add(work)

    def check(self) -> None:
        """Nothing of its own: reading says whether the database answers."""

    def tidy(self) -> None:
        """The server's vacuum does that by itself."""

    def close(self) -> None:
        """Write what was deferred."""
        self._deferred.close()

    def release(self) -> None:
        """Close the connections."""
        self.engine.dispose()

    def _transact(self, work: Callable[[Turn[Effect]], T]) -> T:
        with self._connected() as connection, connection.begin():
            turn: Turn[Effect] = Turn(connection, ())
            result = work(turn)
            if turn.effects:
                self._stage(connection, turn.effects)
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
            raise GalleryBusy
        try:
            yield
        finally:
            self._gate.release()


def open_replicated(
    database: Database,
    milvus: Server | None = None,
    *,
    keep_reply: timedelta = KEEP_REPLY,
    observe: Observe = unobserved,
) -> Gallery:
    """Open the gallery on a PostgreSQL database, with Milvus as its index or else pgvector; makes or completes both.

    Raises:
        StorageError: the database cannot be used.
    """
    store = ReplicatedStore(database)
    try:
        indexes = PgvectorIndexes(store) if milvus is None else MilvusIndexes(store, milvus, observe)
    except BaseException:
        store.close()
        store.release()
        raise
    store.follow(indexes.stage)
    log.info("gallery ready: %d templates in %.2f s", indexes.loaded.templates, indexes.loaded.seconds)
    return Gallery(store, indexes, keep_reply=keep_reply, observe=observe)


def _nothing(_: sa.Connection, __: Sequence[Effect]) -> None:
    """No index follows."""


def _is_lost_race(error: sa.exc.DBAPIError) -> bool:
    state = getattr(error.orig, "sqlstate", None) or ""
    return state.startswith(RETRIED)
