"""The audit log: who asked what of whom. Entries are written before the answer, or gather for the next commit."""

from __future__ import annotations

import getpass
import os
import threading
from collections.abc import Callable, Sequence
from concurrent.futures import Future
from dataclasses import dataclass, fields
from datetime import datetime, timedelta
from functools import partial
from typing import Any

import sqlalchemy as sa

from service.database import paging
from service.database.errors import StorageBusy
from service.database.paging import Page
from service.database.pruning import delete_oldest
from service.database.schema import audit, now
from service.database.transaction import Transaction, storage_errors

MOST = 16_384
"""Entries that may gather; more mean that the store takes none."""


@dataclass(frozen=True, slots=True)
class AuditEntry:
    """Who did what to whom, with which model at which threshold. Never holds a name of a person or biometric data."""

    request_id: str
    principal: str
    action: str
    outcome: str
    collection: str | None = None
    model: str | None = None
    threshold: float | None = None
    target: str | None = None
    """The id of whom or what it concerned: a subject, a face, a job, a key."""


FIELDS = tuple(field.name for field in fields(AuditEntry))
INSERTION = sa.insert(audit)
"""One object, so that its text is looked up and not put together for each entry."""


class AuditLog:
    """Takes entries from any thread. Of those appended, not written, a crash may lose the last quarter of a second."""

    def __init__(
        self,
        defer: Callable[[Callable[[Transaction[Any]], Any]], None],
        begin: Callable[[Callable[[sa.Connection], Any]], Future[Any]],
    ) -> None:
        """Append through `defer`, which runs work soon, in a transaction; write through `begin`, which starts now."""
        self._defer, self._begin_now = defer, begin
        self._lock = threading.Lock()
        self._gathering: list[dict[str, Any]] | None = None

    def append(self, entry: AuditEntry) -> None:
        """Take an entry without waiting for the disk.

        Raises:
            StorageBusy: Too many wait.
            StorageError: The database has stopped.
        """
        row = _row(entry)
        with self._lock:
            if self._gathering is not None:
                if len(self._gathering) >= MOST:
                    raise StorageBusy
                self._gathering.append(row)
                return
            self._gathering = rows = [row]
        try:
            self._defer(partial(self._write, rows))
        except BaseException:
            self._close(rows)
            raise

    def begin(self, entries: Sequence[AuditEntry]) -> Future[Any]:
        """Begin to write entries, at least one; when the future has ended well they are durable.

        Raises:
            StorageError: The database does not take them.
        """
        rows = [_row(entry) for entry in entries]
        return self._begin_now(lambda connection: connection.execute(INSERTION, rows))

    def write(self, entries: Sequence[AuditEntry]) -> None:
        """Write entries, at least one; on return they are durable.

        Raises:
            StorageError: The database does not take them.
        """
        self.begin(entries).result()

    def _write(self, rows: list[dict[str, Any]], transaction: Transaction[Any]) -> None:
        self._close(rows)
        transaction.connection.execute(INSERTION, rows)

    def _close(self, rows: list[dict[str, Any]]) -> None:
        """Let what comes from now on gather elsewhere."""
        with self._lock:
            if self._gathering is rows:
                self._gathering = None


@dataclass(frozen=True, slots=True)
class AuditQuery:
    """Which entries: in a window of time, of a caller, of an action, in collections. None leaves open."""

    since: datetime | None = None
    until: datetime | None = None
    principal: str | None = None
    action: str | None = None
    target: str | None = None
    collections: frozenset[str] | None = None


@dataclass(frozen=True, slots=True)
class LoggedEntry:
    """An entry of the log, with its number and its time."""

    row: int
    at: datetime
    request_id: str
    principal: str
    action: str
    outcome: str
    collection: str | None
    model: str | None
    threshold: float | None
    target: str | None


def insert_entries(connection: sa.Connection, entries: Sequence[AuditEntry]) -> None:
    """Write entries in an open transaction: they are there when it is committed, and only then."""
    if entries:
        connection.execute(INSERTION, [_row(entry) for entry in entries])


def read_audit(engine: sa.Engine, query: AuditQuery, cursor: str | None = None, limit: int = 100) -> Page[LoggedEntry]:
    """List entries, newest first; also beside a running service.

    Raises:
        CursorInvalid: The cursor was not made by this list.
        StorageError: The database cannot be used.
    """
    select = sa.select(*(audit.c[name] for name in LoggedEntry.__dataclass_fields__))
    for column in ("principal", "action", "target"):
        if (value := getattr(query, column)) is not None:
            select = select.where(audit.c[column] == value)
    if query.since is not None:
        select = select.where(audit.c.at >= query.since)
    if query.until is not None:
        select = select.where(audit.c.at < query.until)
    if query.collections is not None:
        select = select.where(audit.c.collection.in_(query.collections))
    return paging.newest_first(engine, select, audit.c.row, LoggedEntry, cursor, limit)


def _row(entry: AuditEntry) -> dict[str, Any]:
    return {name: getattr(entry, name) for name in FIELDS} | {"at": now()}


def prune_audit(connection: sa.Connection, days: float) -> int:
    """Delete some of the entries older than so many days, none for 0; returns how many, 0 when all have gone."""
    if days <= 0:
        return 0
    return delete_oldest(connection, audit.c.row, audit.c.at < now() - timedelta(days=days))


def name_principal() -> str:
    """Name who gives a command: whoever is logged in on this machine, by number where a container knows no name."""
    try:
        return f"command:{getpass.getuser()}"
    except (KeyError, OSError):
        return f"command:{os.getuid()}"


def note(engine: sa.Engine, action: str, outcome: str = "done", target: str | None = None) -> None:
    """Write an entry for a command of whoever is logged in on this machine.

    Raises:
        StorageError: The database does not take it.
    """
    entry = AuditEntry("", name_principal(), action, outcome, target=target)
    writing = engine.connect().execution_options(immediate=True)
    with storage_errors(), writing as connection, connection.begin():
        insert_entries(connection, [entry])
