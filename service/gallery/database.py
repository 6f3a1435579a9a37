"""The SQLite file behind the record: connections, pragmas, migrations, and errors given their right names."""

from __future__ import annotations

import errno
import fcntl
import logging
import os
import re
import sqlite3
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import sqlalchemy as sa
from alembic.config import Config
from alembic.runtime.migration import MigrationContext
from alembic.script import ScriptDirectory
from alembic.util import CommandError

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
        )
        sa.event.listen(engine, "connect", _prepare)
        sa.event.listen(engine, "begin", _begin)
        try:
            _migrate(engine)
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
    # A writer takes the lock at once: a transaction that reads first and writes later could not wait for its turn.
    immediate = connection.get_execution_options().get("immediate", False)
    connection.exec_driver_sql("BEGIN IMMEDIATE" if immediate else "BEGIN")


def checkpoint(engine: sa.Engine) -> None:
    """Fold SQLite's log into its file and empty it: what was erased is then in neither."""
    connection = engine.raw_connection()
    try:
        connection.cursor().execute("PRAGMA wal_checkpoint(TRUNCATE)").close()
    finally:
        connection.close()


def _migrate(engine: sa.Engine) -> None:
    logging.getLogger("alembic.runtime.migration").setLevel(logging.WARNING)  # it reports every start
    config = Config()
    config.set_main_option("script_location", str(Path(__file__).parent / "migrations"))
    scripts = ScriptDirectory.from_config(config)
    head = scripts.get_current_head()
    with engine.connect() as connection:
        if MigrationContext.configure(connection).get_current_revision() == head:
            return
    with engine.connect().execution_options(immediate=True) as connection, connection.begin():
        context = MigrationContext.configure(
            connection, opts={"fn": lambda current, _: scripts._upgrade_revs("head", current)}
        )
        try:
            with _operations(context):
                context.run_migrations()
        except CommandError as error:
            raise StorageUnavailable(
                f"The gallery was written by a newer version of Facet ({error}): run that version, or restore a backup."
            ) from error


@contextmanager
def _operations(context: MigrationContext) -> Iterator[None]:
    from alembic.operations import Operations  # noqa: PLC0415 - half the import time of alembic, needed once

    with Operations.context(context):
        yield


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
