"""One transaction, what it leaves to be followed, and the failures of any database given their right names."""

from __future__ import annotations

import errno
import hashlib
import re
import sqlite3
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any, Generic, TypeVar

import sqlalchemy as sa

from service.database.errors import StorageBusy, StorageError, StorageFull, StorageReadOnly, StorageUnavailable

E = TypeVar("E")


@dataclass(frozen=True, slots=True)
class Transaction(Generic[E]):
    """An open transaction, and the changes that whatever is derived from the database follows after the commit."""

    connection: sa.Connection
    pending: Sequence[E]
    """Changes by earlier work of the same commit; nothing follows them yet."""
    changes: list[E] = field(default_factory=list)
    """Changes by this work, in order."""
    side_effects: list[Any] = field(default_factory=list)
    """What this work did besides what it was asked for; whoever asked may tell of it after the commit."""


@contextmanager
def storage_errors() -> Iterator[None]:
    """Give failures of the disk and the engine their typed names."""
    try:
        yield
    except (sa.exc.DBAPIError, sa.exc.TimeoutError, sqlite3.Error, OSError) as error:
        raise storage_error(error) from error


def storage_error(error: Exception) -> StorageError:
    """Return the typed name of a failure of the disk or the engine."""
    cause = error.orig if isinstance(error, sa.exc.DBAPIError) else error
    if isinstance(cause, sa.exc.TimeoutError):
        return StorageBusy()
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
    "SQLITE_BUSY|SQLITE_LOCKED": StorageBusy,
}
_DAMAGE = "SQLITE_CORRUPT|SQLITE_NOTADB"


def _server_error(state: str | None, words: str) -> StorageError:
    """The typed name of a failure of a database server, by its SQLSTATE.

    Its own words may name hosts and users, so they are not passed on. They are looked into where there is no SQLSTATE
    because there was no connection.
    """
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
    "53|55P03|57014|40": StorageBusy,
}


_UNCONNECTED = {
    "certificate|SSL|encryption": "The database and FACET_DATABASE_SSLMODE do not agree on TLS: does "
    "FACET_DATABASE_SSLROOTCERT hold the authority of its certificate, and does this name the host in FACET_DATABASE?",
    "authentication failed|no password supplied|role .* does not exist": "The database refuses the user in "
    "FACET_DATABASE or FACET_DATABASE_PASSWORD.",
}


def is_taken(error: sa.exc.IntegrityError) -> bool:
    """Return whether a value that must be the only one was there already; else something it refers to is gone."""
    state = getattr(error.orig, "sqlstate", None)
    name = getattr(error.orig, "sqlite_errorname", "")
    return state == "23505" or name in ("SQLITE_CONSTRAINT_UNIQUE", "SQLITE_CONSTRAINT_PRIMARYKEY")


def serialise(connection: sa.Connection, what: str) -> None:
    """Let no other transaction with the same `what` go on from here, in whatever process, until this one ends.

    SQLite has one writer anyway.
    """
    if connection.dialect.name == "postgresql":
        number = int.from_bytes(hashlib.sha256(what.encode()).digest()[:8], "big", signed=True)
        connection.execute(_LOCK, {"number": number})


_LOCK = sa.text("SELECT pg_advisory_xact_lock(:number)").bindparams(sa.bindparam("number", type_=sa.BigInteger))


def is_fatal(error: sa.exc.DBAPIError) -> bool:
    """Return whether the engine failed, not the statement: then the transaction may be gone, not just the savepoint."""
    return not isinstance(error, (sa.exc.IntegrityError, sa.exc.DataError, sa.exc.ProgrammingError))
