"""Copies of a SQLite database: whole and checked, also while a service writes to it."""

from __future__ import annotations

import logging
import math
import os
import sqlite3
from contextlib import closing
from pathlib import Path

from service.database.errors import StorageUnavailable
from service.database.sqlite.birth import FILE, PRIVATE_FILE

log = logging.getLogger(__name__)
KEPT_SECONDS = 7.0 * 86_400


def copy_database(source: Path, target: Path) -> None:
    """Copy a database with SQLite's own means, check the copy, and give it its name when it is whole.

    Raises:
        sqlite3.Error, OSError: It cannot be read or written.
        StorageUnavailable: The copy is not sound, so neither is what it was made from.
    """
    part = target.with_name(f"{target.name}.part")
    part.unlink(missing_ok=True)
    os.close(os.open(part, os.O_RDWR | os.O_CREAT, PRIVATE_FILE))
    try:
        with closing(sqlite3.connect(source)) as old, closing(sqlite3.connect(part)) as new:
            old.backup(new)
            new.execute("PRAGMA journal_mode = DELETE")
            check_sound(new)
        descriptor = os.open(part, os.O_RDONLY)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)
        part.rename(target)
    except BaseException:
        part.unlink(missing_ok=True)
        raise


def check_sound(connection: sqlite3.Connection) -> None:
    """Check a database page by page.

    Raises:
        StorageUnavailable: It is damaged.
    """
    (line,) = connection.execute("PRAGMA integrity_check(1)").fetchone()
    if line != "ok":
        raise StorageUnavailable(f"The gallery's file is damaged ({line}): restore a backup or import an archive.")


def keep_before(directory: Path, revision: str) -> str:
    """Keep the database as it is before its schema changes; returns the name of the copy."""
    target = directory / f"gallery.{revision}.before"
    if not target.exists():
        copy_database(directory / FILE, target)
    return target.name


def drop_before(directory: Path, made_before: float = math.inf) -> None:
    """Delete those copies that were made before a moment (of `time.time()`): who was erased then is in them too."""
    for copy in directory.glob("gallery.*.before"):
        if copy.stat().st_mtime <= made_before:
            copy.unlink(missing_ok=True)
            log.warning("%s is deleted: it held the database from before its schema changed", copy.name)
