"""The SQLite file of an embedded database, and the lock that keeps it to one process."""

from __future__ import annotations

import fcntl
import logging
import os
import sqlite3
import time
from contextlib import closing
from functools import partial
from pathlib import Path
from typing import Any

import sqlalchemy as sa

from service.database.errors import ErasureUnfinished, StorageLocked
from service.database.schema import store
from service.database.sqlite.birth import FILE, LOCK, check_first, check_whole, note_birth, prepare_folder
from service.database.sqlite.copies import keep_before
from service.database.transaction import storage_errors
from service.database.upgrades import revision_of, upgrade

log = logging.getLogger(__name__)
BUSY_SECONDS = 10.0
CHECKPOINT_SECONDS = 10.0
"""For which an erasure waits until nobody reads the old state any more."""
CHECKPOINT_PAUSE = 0.01

__all__ = ["FILE", "LOCK", "DirectoryLock", "checkpoint", "open_engine"]


def open_engine(directory: Path, *, busy_seconds: float = BUSY_SECONDS) -> sa.Engine:
    """Open the database in `directory`, migrated to the newest schema; the directory is made if need be.

    Safe to call while another process serves the same directory (SQLite's own locks decide who writes).

    Raises:
        StorageReadOnly: The folder cannot be written.
        StorageFull: The disk is full.
        StorageUnavailable: The database cannot be opened, is damaged, or is lost from a folder that had one.
    """
    with storage_errors():
        prepare_folder(directory)
        check_whole(directory)
        engine = sa.create_engine(
            sa.URL.create("sqlite", database=str(directory / FILE)),
            connect_args={"timeout": busy_seconds, "check_same_thread": False, "cached_statements": 256},
            pool_size=16,
            max_overflow=16,
            hide_parameters=True,  # templates are among them: no error message may hold one
        )
        sa.event.listen(engine, "connect", _prepare)
        sa.event.listen(engine, "begin", _begin)
        try:
            check_first(directory, known=revision_of(engine) is not None)
            upgrade(engine, partial(keep_before, directory))
            note_birth(directory, _store_id(engine))
        except BaseException:
            engine.dispose()
            raise
        return engine


def _store_id(engine: sa.Engine) -> str:
    with engine.connect() as connection:
        return str(connection.scalar(sa.select(store.c.value).where(store.c.name == "id")))


def _prepare(connection: sqlite3.Connection, _: Any) -> None:
    # The driver's own transactions would break savepoints: it must not begin any (isolation_level None).
    connection.isolation_level = None
    for pragma in (
        "journal_mode = WAL",
        "synchronous = FULL",
        "foreign_keys = ON",
        "secure_delete = ON",  # an erased template is overwritten, not just unlinked
        "temp_store = MEMORY",
        "cache_size = -16000",
    ):
        connection.execute(f"PRAGMA {pragma}")


def _begin(connection: sa.Connection) -> None:
    options = connection.get_execution_options()
    if not options.get("single", False):  # one statement by itself is a transaction
        # A writer takes the lock at once: a transaction that reads first and writes later could not wait for its turn.
        connection.exec_driver_sql("BEGIN IMMEDIATE" if options.get("immediate", False) else "BEGIN")


def checkpoint(engine: sa.Engine) -> None:
    """Fold SQLite's log into its file and empty it: what was erased is then in neither.

    Raises:
        ErasureUnfinished: A reader still needs the log.
    """
    connection = engine.raw_connection()
    try:
        with closing(connection.cursor()) as cursor:
            (before,) = cursor.execute("PRAGMA busy_timeout").fetchone()
            cursor.execute(f"PRAGMA busy_timeout = {round(1000 * CHECKPOINT_SECONDS)}")
            try:
                busy = _empty_log(cursor)
            finally:  # the connection goes back to the others
                cursor.execute(f"PRAGMA busy_timeout = {before}")
    finally:
        connection.close()
    if busy:
        raise ErasureUnfinished


def _empty_log(cursor: Any) -> bool:
    """Try until it is empty or the time is up; returns whether a reader still needs it."""
    until = time.monotonic() + CHECKPOINT_SECONDS
    busy = True
    while busy and time.monotonic() < until:  # SQLite waits for readers, and not for another checkpoint
        (in_use, *_) = cursor.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchone() or (0,)
        busy = bool(in_use)
        if busy:
            time.sleep(CHECKPOINT_PAUSE)
    return busy


class DirectoryLock:
    """One process at a time has the gallery open. The kernel drops the lock when the process dies, however it dies.

    The folder itself is locked, since a file in it can be removed; and the file, for versions that know no other lock.
    """

    def __init__(self, directory: Path) -> None:
        """Take the lock.

        Raises:
            StorageLocked: Another process holds it.
            StorageReadOnly: The folder cannot be written.
            StorageFull: The disk is full.
            StorageUnavailable: The database cannot be opened or is damaged.
        """
        with storage_errors():
            prepare_folder(directory)
            self._file = (directory / LOCK).open("a+", encoding="ascii")
            self._folder = os.open(directory, os.O_RDONLY | os.O_DIRECTORY)
            try:
                self._lock_folder()
                fcntl.flock(self._file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                self._file.seek(0)
                owner = self._file.read(32).strip()
                self.release()
                raise StorageLocked(f"process {owner}" if owner else "owner unknown") from None
            try:
                self._file.truncate(0)
                self._file.write(str(os.getpid()))
                self._file.flush()
            except OSError:  # the number is a courtesy; a full disk does not forbid reading
                pass

    def _lock_folder(self) -> None:
        try:
            fcntl.flock(self._folder, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise
        except OSError as error:  # some network file systems lock files only
            log.warning("the data folder cannot be locked, only %s in it: nobody may remove that (%s)", LOCK, error)

    def release(self) -> None:
        """Give the lock back."""
        self._file.close()
        os.close(self._folder)
