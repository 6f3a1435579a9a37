"""The embedded gallery: one process, one folder; SQLite is the record and faiss the index."""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence
from datetime import timedelta
from pathlib import Path
from typing import Any, TypeVar

import sqlalchemy as sa

from service.database.encryption import Keyring
from service.database.sqlite import DirectoryLock, checkpoint, open_engine, storage_errors
from service.database.writer import Turn, Writer
from service.gallery.gallery import KEEP_REPLY, Gallery, Observe, unobserved
from service.gallery.records import Progress
from service.index.changes import Effect
from service.index.embedded.manager import Shelf
from service.index.embedded.tiered import Tiers

log = logging.getLogger(__name__)
T = TypeVar("T")
SEGMENTS = "segments"


class EmbeddedStore:
    """A `Store` in a folder that this process alone has open; one thread writes."""

    def __init__(self, directory: Path) -> None:
        """Open or create the record.

        Raises:
            StorageLocked: another process has it open. StorageError: it cannot be opened.
        """
        self._lock = DirectoryLock(directory)
        try:
            self.engine = open_engine(directory)
        except BaseException:
            self._lock.release()
            raise

    def start(self, apply: Callable[[Sequence[Effect]], None], queue: int) -> None:
        """Begin to write; `apply` brings committed effects to the indexes."""
        self._writer: Writer[Effect] = Writer(self.engine, apply, queue=queue)

    @property
    def waiting(self) -> int:
        """Changes that wait for the one writing thread."""
        return self._writer.waiting

    def read(self, work: Callable[[sa.Connection], T]) -> T:
        """Beside the writer: readers see the last commit."""
        with storage_errors(), self.engine.connect() as connection:
            return work(connection)

    def change(self, work: Callable[[Turn[Effect]], T]) -> T:
        """In its turn, in the one writing thread, committed together with what waits beside it."""
        return self._writer.submit(work)

    change_alone = change

    def defer(self, work: Callable[[Turn[Effect]], Any]) -> None:
        """With one of the next commits. A crash may lose the last moments of it."""
        self._writer.defer(work)

    def check(self) -> None:
        """Whether the writer goes on."""
        self._writer.check()

    def tidy(self) -> None:
        """Empty SQLite's log."""
        with storage_errors():
            checkpoint(self.engine)

    def close(self) -> None:
        """Finish what waits."""
        self._writer.close()

    def release(self) -> None:
        """Close the file and give the folder back."""
        self.engine.dispose()
        self._lock.release()


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
    """Open or create the gallery in `directory` and bring its indexes up to date.

    Args:
        directory: Holds the record and whatever is derived from it.
        keep_reply: How long replies are kept for repeated requests.
        queue: Changes that may wait; one more is refused with GalleryBusy.
        tiers: Sizes at which indexes change their shape.
        keyring: Seals templates and crops at rest; without it they are stored as they are.
        erase_within: Seconds after which a removed template has left the derived files too. It leaves the record
            and every search at once.
        progress: Told how far the start has come, from this thread.
        observe: Told how long each call of the record or the index took.

    Raises:
        StorageLocked: another process has it open. StorageError: it cannot be opened.
    """
    store = EmbeddedStore(directory)
    try:
        with storage_errors():
            shelf = Shelf(
                store.engine, directory / SEGMENTS, tiers or Tiers(), erase_within, keyring or Keyring.empty()
            )
            shelf.load(progress)
    except BaseException:
        store.release()
        raise
    log.info(
        "gallery ready: %d templates in %.2f s (%d from files, %d from the record, %d files refused)",
        shelf.loaded.templates,
        shelf.loaded.seconds,
        shelf.loaded.from_snapshot,
        shelf.loaded.from_record,
        len(shelf.loaded.refused),
    )
    shelf.start()
    store.start(shelf.apply, queue)
    return Gallery(store, shelf, keep_reply=keep_reply, observe=observe)
