"""The audit log: entries that gather are written together, in one statement, with one of the next commits."""

from __future__ import annotations

import threading
from collections.abc import Callable
from dataclasses import asdict
from functools import partial
from typing import Any

import sqlalchemy as sa

from service.database.schema import audit, now
from service.database.writer import Turn
from service.gallery.errors import GalleryBusy
from service.gallery.records import AuditEntry
from service.index.changes import Effect

MOST = 16_384
"""Entries that may gather; more mean that the store takes none."""


class Trail:
    """Takes entries from any thread. A crash may lose the last moments of them."""

    def __init__(self, defer: Callable[[Callable[[Turn[Effect]], Any]], None]) -> None:
        """`defer` runs work soon, in a transaction, and again if that failed."""
        self._defer = defer
        self._lock = threading.Lock()
        self._gathering: list[dict[str, Any]] | None = None

    def append(self, entry: AuditEntry) -> None:
        """Take an entry without waiting for the disk. Raises: StorageError, GalleryBusy when too many wait."""
        row = asdict(entry) | {"at": now()}
        with self._lock:
            if self._gathering is not None:
                if len(self._gathering) >= MOST:
                    raise GalleryBusy
                self._gathering.append(row)
                return
            self._gathering = rows = [row]
        try:
            self._defer(partial(self._write, rows))
        except BaseException:
            self._close(rows)
            raise

    def _write(self, rows: list[dict[str, Any]], turn: Turn[Effect]) -> None:
        self._close(rows)
        turn.connection.execute(sa.insert(audit), rows)

    def _close(self, rows: list[dict[str, Any]]) -> None:
        """What comes from now on gathers elsewhere."""
        with self._lock:
            if self._gathering is rows:
                self._gathering = None
