"""The SQLite file behind the record, and the failures of any database given their right names."""

from __future__ import annotations

import errno
import fcntl
import hashlib
import os
import re
import sqlite3
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import sqlalchemy as sa

from service.database.upgrades import upgrade
from service.gallery.errors import (
    GalleryBusy,
    GalleryError,
    StorageError,
    StorageFull,
    StorageLocked,
    StorageReadOnly,
    StorageUnavailable,
)

RECORD = "gallery.sqlite3"
LOCK = "gallery.lock"


def open_engine(directory: Path, *, busy_seconds: float = 10.0) -> sa.Engine:
    """An engine on the record in `directory`, migrated to the newest schema; the directory is made if need be.

    Safe to call while another process serves the same directory (SQLite's own locks decide who writes).

    Raises:
        StorageReadOnly, StorageFull, StorageUnavailable: the record cannot be opened or brought up to date.
    """
    with storage_errors():
        directory.mkdir(parents=True, exist_ok=True)
        engine = sa.create_engine(
            sa.URL.create("sqlite", database=str(directory / RECORD)),
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


@contextmanager
def storage_errors() -> Iterator[None]:
    """Give failures of the disk and the engine their typed names."""
    try:
        yield
    except GalleryError:
        raise
    except (sa.exc.DBAPIError, sa.exc.TimeoutError, sqlite3.Error, OSError) as error:
        raise storage_error(error) from error


def storage_error(error: Exception) -> StorageError:
    """The typed name of a failure of the disk or the engine."""
    cause = error.orig if isinstance(error, sa.exc.DBAPIError) else error
    if isinstance(cause, sa.exc.TimeoutError):
        return GalleryBusy()
    if hasattr(cause, "sqlstate"):
        return _server_error(getattr(cause, "sqlstate", None), str(cause))
    name = getattr(cause, "sqlite_errorname", None) or errno.errorcode.get(getattr(cause, "errno", None) or 0, "")
    for pattern, kind in _FAILURES.items():
        if re.match(pattern, name):
            return kind()
    if re.match(_DAMAGE, name):
        return StorageUnavailable("The gallery's file is damaged: restore a backup or import an archive.")
    return StorageUnavailable(f"The gallery's store failed ({name or cause}): check the disk, then try again.")


_FAILURES: dict[str, Callable[[], StorageError]] = {
    "SQLITE_FULL|ENOSPC|EDQUOT|EFBIG": StorageFull,
    "SQLITE_READONLY|SQLITE_PERM|SQLITE_CANTOPEN|EACCES|EPERM|EROFS": StorageReadOnly,
    "SQLITE_BUSY|SQLITE_LOCKED": GalleryBusy,
}
_DAMAGE = "SQLITE_CORRUPT|SQLITE_NOTADB"


def _server_error(state: str | None, words: str) -> StorageError:
    """The typed name of a failure of a database server, by its SQLSTATE. Its own words may name hosts and users: they
    are looked into, where there is no SQLSTATE because there was no connection, and not passed on."""
    for pattern, kind in _STATES.items():
        if re.match(pattern, state or ""):
            return kind()
    if not state:
        for pattern, what in _UNCONNECTED.items():
            if re.search(pattern, words):
                return StorageUnavailable(what)
    why = f"it answered {state}" if state else "no connection"
    return StorageUnavailable(f"The database cannot be used ({why}): the service goes on by itself when it can.")


_STATES: dict[str, Callable[[], StorageError]] = {
    "53100": StorageFull,
    "25006": StorageReadOnly,
    # Too many connections, a lock or a statement that took too long, one transaction too many in another's way.
    "53|55P03|57014|40": GalleryBusy,
}


_UNCONNECTED = {
    "certificate|SSL|encryption": "The database and FACET_DATABASE_SSLMODE do not agree on TLS: does "
    "FACET_DATABASE_SSLROOTCERT hold the authority of its certificate, and does this name the host in FACET_DATABASE?",
    "authentication failed|no password supplied|role .* does not exist": "The database refuses the user in "
    "FACET_DATABASE or FACET_DATABASE_PASSWORD.",
}


def is_taken(error: sa.exc.IntegrityError) -> bool:
    """Whether a value that must be the only one was there already; else something it refers to is gone."""
    state = getattr(error.orig, "sqlstate", None)
    name = getattr(error.orig, "sqlite_errorname", "")
    return state == "23505" or name in ("SQLITE_CONSTRAINT_UNIQUE", "SQLITE_CONSTRAINT_PRIMARYKEY")


def serialise(connection: sa.Connection, what: str) -> None:
    """Let no two transactions of any process that say the same `what` go on beside each other from here on.

    SQLite has one writer anyway.
    """
    if connection.dialect.name == "postgresql":
        number = int.from_bytes(hashlib.sha256(what.encode()).digest()[:8], "big", signed=True)
        connection.execute(_LOCK, {"number": number})


_LOCK = sa.text("SELECT pg_advisory_xact_lock(:number)").bindparams(sa.bindparam("number", type_=sa.BigInteger))


def is_fatal(error: sa.exc.DBAPIError) -> bool:
    """Whether the engine, not the statement, failed: then the transaction may be gone, not just the savepoint."""
    return not isinstance(error, (sa.exc.IntegrityError, sa.exc.DataError, sa.exc.ProgrammingError))


class DirectoryLock:
    """One process at a time has the gallery open. The kernel drops the lock when the process dies, however it dies."""

    def __init__(self, directory: Path) -> None:
        """Take the lock.

        Raises:
            StorageLocked: another process holds it.
            StorageReadOnly, StorageFull, StorageUnavailable: the directory cannot be used.
        """
        with storage_errors():
            directory.mkdir(parents=True, exist_ok=True)
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
