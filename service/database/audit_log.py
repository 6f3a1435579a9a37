"""The audit log: entries gather and are written together, in one statement, with one of the next commits."""

from __future__ import annotations

import threading
from collections.abc import Callable
from dataclasses import asdict, dataclass
from functools import partial
from typing import Any

import sqlalchemy as sa

from service.database.errors import StorageBusy
from service.database.schema import audit, now
from service.database.transaction import Transaction

MOST = 16_384
"""Entries that may gather; more mean that the store takes none."""


@dataclass(frozen=True, slots=True)
class AuditEntry:
    """Who decided what with which model at which threshold. Never holds biometric data."""

    request_id: str
    principal: str
    action: str
    outcome: str
    collection: str | None = None
    model: str | None = None
    threshold: float | None = None


class AuditLog:
    """Takes entries from any thread. A crash may lose the last moments of them."""

    def __init__(self, defer: Callable[[Callable[[Transaction[Any]], Any]], None]) -> None:
        """Write through `defer`, which runs work soon, in a transaction, and again if that failed."""
        self._defer = defer
        self._lock = threading.Lock()
        self._gathering: list[dict[str, Any]] | None = None

    def append(self, entry: AuditEntry) -> None:
        """Take an entry without waiting for the disk.

        Raises:
            StorageBusy: Too many wait.
            StorageError: The database has stopped.
        """
        row = asdict(entry) | {"at": now()}
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

    def _write(self, rows: list[dict[str, Any]], transaction: Transaction[Any]) -> None:
        self._close(rows)
        transaction.connection.execute(sa.insert(audit), rows)

    def _close(self, rows: list[dict[str, Any]]) -> None:
        """Let what comes from now on gather elsewhere."""
        with self._lock:
            if self._gathering is rows:
                self._gathering = None
