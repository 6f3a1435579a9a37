"""Emptying SQLite's log gives the connection back as it was."""

from __future__ import annotations

import sqlite3
from pathlib import Path

import pytest

from service.database.sqlite import engine as sqlite_engine
from service.database.sqlite.engine import checkpoint, open_engine


def test_a_checkpoint_that_fails_leaves_no_patience_behind(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(cursor: sqlite3.Cursor) -> bool:
        raise sqlite3.OperationalError("disk I/O error")

    engine = open_engine(tmp_path, busy_seconds=3.0)
    try:
        checkpoint(engine)
        monkeypatch.setattr(sqlite_engine, "_empty_log", fail)
        with pytest.raises(sqlite3.OperationalError):
            checkpoint(engine)
        with engine.connect() as connection:
            assert connection.exec_driver_sql("PRAGMA busy_timeout").scalar() == 3000
    finally:
        engine.dispose()
