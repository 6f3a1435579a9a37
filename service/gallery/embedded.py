"""Opens a gallery in a folder of its own: SQLite keeps it, faiss searches it."""

from __future__ import annotations

import logging
from collections.abc import Callable
from datetime import timedelta
from pathlib import Path

from service.database.encryption import Keyring
from service.database.key_check import check_keys
from service.database.sqlite.database import SqliteDatabase
from service.database.transaction import storage_errors
from service.gallery.gallery import KEEP_REPLY, Gallery, Observe, unobserved
from service.index.base import Progress
from service.index.changes import IndexChange
from service.index.embedded.index import EmbeddedIndex
from service.index.embedded.tiered import Tiers
from service.index.stored_templates import TemplateReader

log = logging.getLogger(__name__)
SEGMENTS = "segments"


def open_embedded(
    directory: Path,
    *,
    keep_reply: timedelta = KEEP_REPLY,
    queue: int = 1024,
    tiers: Tiers | None = None,
    keyring: Keyring | None = None,
    erase_within: float = 3600.0,
    progress: Callable[[Progress], None] | None = None,
    observe: Observe = unobserved,
) -> Gallery:
    """Open or create the gallery in `directory` and bring its index up to date.

    Args:
        directory: Holds the database and whatever is derived from it.
        keep_reply: How long replies are kept for repeated requests.
        queue: Changes that may wait; one more is refused with StorageBusy.
        tiers: Sizes at which the index changes its shape.
        keyring: Seals templates and crops at rest; without it they are stored as they are.
        erase_within: Seconds after which a removed template has left the derived files too. It leaves the database
            and every search at once.
        progress: Told how far the start has come, from this thread.
        observe: Told how long each call of the database or the index took.

    Raises:
        StorageLocked: Another process has it open.
        StorageError: It cannot be opened.
    """
    keyring = keyring or Keyring.empty()
    reader = TemplateReader(keyring)
    database: SqliteDatabase[IndexChange] = SqliteDatabase(directory)
    try:
        with storage_errors():
            check_keys(database.engine, keyring)
            index = EmbeddedIndex(
                database.engine, directory / SEGMENTS, tiers or Tiers(), erase_within, keyring, reader
            )
            index.load(progress)
    except BaseException:
        database.release()
        raise
    log.info(
        "gallery ready: %d templates in %.2f s (%d from files, %d from the database, %d files refused)",
        index.loaded.templates,
        index.loaded.seconds,
        index.loaded.from_files,
        index.loaded.from_database,
        len(index.loaded.refused),
    )
    index.start()
    database.start(index.apply, queue)
    return Gallery(database, index, keyring=keyring, reader=reader, keep_reply=keep_reply, observe=observe)
