"""The SQLite file of an embedded database, and the lock that keeps it to one process."""

from __future__ import annotations

import fcntl
import os
import sqlite3
from pathlib import Path
from typing import Any

import sqlalchemy as sa

from service.database.errors import StorageLocked
from service.database.transaction import storage_errors
from service.database.upgrades import upgrade

FILE = "gallery.sqlite3"
LOCK = "gallery.lock"
PRIVATE_FOLDER, PRIVATE_FILE = 0o700, 0o600
"""Templates are biometric data: what is made here is for this user alone."""


def open_engine(directory: Path, *, busy_seconds: float = 10.0) -> sa.Engine:
    """Open the database in `directory`, migrated to the newest schema; the directory is made if need be.

    Safe to call while another process serves the same directory (SQLite's own locks decide who writes).

    Raises:
        StorageReadOnly: The folder cannot be written.
        StorageFull: The disk is full.
        StorageUnavailable: The database cannot be opened or is damaged.
    """
    with storage_errors():
        directory.mkdir(PRIVATE_FOLDER, parents=True, exist_ok=True)
        (directory / FILE).touch(mode=PRIVATE_FILE)  # its log takes the mode after it
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
            upgrade(engine)
        except BaseException:
            engine.dispose()
            raise
        return engine


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
    """Fold SQLite's log into its file and empty it: what was erased is then in neither."""
    connection = engine.raw_connection()
    try:
        connection.cursor().execute("PRAGMA wal_checkpoint(TRUNCATE)").close()
    finally:
        connection.close()


class DirectoryLock:
    """One process at a time has the gallery open. The kernel drops the lock when the process dies, however it dies."""

    def __init__(self, directory: Path) -> None:
        """Take the lock.

        Raises:
            StorageLocked: Another process holds it.
            StorageReadOnly: The folder cannot be written.
            StorageFull: The disk is full.
            StorageUnavailable: The database cannot be opened or is damaged.
        """
        with storage_errors():
            directory.mkdir(PRIVATE_FOLDER, parents=True, exist_ok=True)
            self._file = (directory / LOCK).open("a+", encoding="ascii")
            try:
                fcntl.flock(self._file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                self._file.seek(0)
                owner = self._file.read(32).strip()
                self._file.close()
                raise StorageLocked(f"process {owner}" if owner else "owner unknown") from None
            try:
                self._file.truncate(0)
                self._file.write(str(os.getpid()))
                self._file.flush()
            except OSError:  # the number is a courtesy; a full disk does not forbid reading
                pass

    def release(self) -> None:
        """Give the lock back."""
        self._file.close()
