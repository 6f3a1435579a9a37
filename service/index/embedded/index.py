"""The embedded index of a gallery: one part per collection and model, in memory, derived from the database."""

from __future__ import annotations

import logging
import os
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from itertools import groupby
from pathlib import Path

import faiss
import numpy as np
import sqlalchemy as sa

from service.database.encryption import Keyring
from service.database.schema import models
from service.index import source
from service.index.base import Backlog, CandidateList, Loaded, Matrix, Place, Progress, Rows, among
from service.index.changes import Added, Dropped, IndexChange, Removed
from service.index.embedded.segment import BuildStopped
from service.index.embedded.segment_folder import SegmentFolder
from service.index.embedded.tiered import TieredIndex, Tiers
from service.index.stored_templates import TemplateReader

log = logging.getLogger(__name__)
COMPACT_EVERY = 60.0


class EmbeddedIndex:
    """A `VectorIndex` in this process. One thread applies changes; any thread searches.

    A thread of low priority compacts what has gathered; it never holds up a search or a change for more than moments.
    """

    def __init__(
        self,
        engine: sa.Engine,
        directory: Path,
        tiers: Tiers,
        erase_within: float,
        keyring: Keyring,
        reader: TemplateReader,
    ) -> None:
        """Make an index of nothing; `directory` is for segment files.

        Args:
            engine: The database.
            directory: Made when the first segment is written.
            tiers: For every index.
            erase_within: Seconds after which segments are rebuilt without their removed vectors, however few.
            keyring: Seals and opens the files.
            reader: Opens what the database holds.
        """
        self._engine = engine
        self._directory = directory
        self._tiers = tiers
        self._erase_within = erase_within
        self._keyring, self._reader = keyring, reader
        self._indexes: dict[Place, TieredIndex] = {}
        self.models: dict[str, tuple[int, int]] = {}
        """Row and dimension of models that have templates, by digest; neither ever changes."""
        self.loaded = Loaded(0, 0, 0, (), 0.0)
        self._discarded: list[TieredIndex] = []
        """Indexes of collections that are gone, whose files may still be there."""
        prefer_matrix_products(len(os.sched_getaffinity(0)))
        self._helpers = idle_cores()
        self._closing = threading.Event()
        self._wake = threading.Event()
        self._thread = threading.Thread(target=self._compact, name="gallery-compaction", daemon=True)

    # ---- start and end

    def load(self, progress: Callable[[Progress], None] | None = None) -> Loaded:
        """Bring every index to the state of the database, from segment files where they agree with it."""
        started = time.perf_counter()
        from_files = from_database = 0
        refused: list[str] = []
        with self._engine.connect() as connection:
            known = source.places(connection)
            for place, name, digest, dim, total in known:
                files = self._folder_of(connection, place, digest, dim)
                living = source.template_rows(connection, place)
                segments, bad = files.load(living, source.last_template_row(connection))
                refused += bad
                missing = living
                if segments:
                    held = np.concatenate([segment.rows[segment.alive] for segment in segments])
                    missing = living[~among(living, np.sort(held))]
                room = min(len(missing), self._tiers.exact + self._tiers.segment + source.CHUNK)
                index = TieredIndex(dim, self._tiers, files=files, segments=segments, room=room, helpers=self._helpers)
                from_files += len(index)
                if progress is not None:
                    progress(Progress(name, digest, len(index), total, "segment files"))
                for rows, groups, matrix in source.read_templates(connection, self._reader, place, dim, missing):
                    index.add(rows, groups, matrix)
                    from_database += len(rows)
                    while index.fresh > self._tiers.exact + self._tiers.segment:
                        index.compact()
                    if progress is not None:
                        progress(Progress(name, digest, len(index), total, "database"))
                self._indexes[place] = index
                self.models[digest] = (place[1], dim)
        self._forget_files({_folder(place) for place, *_ in known})
        seconds = time.perf_counter() - started
        self.loaded = Loaded(from_files + from_database, from_files, from_database, tuple(refused), seconds)
        return self.loaded

    def start(self) -> None:
        """Begin to compact in the background."""
        self._thread.start()
        self._wake.set()

    def close(self) -> None:
        """Stop compacting; what was being built is dropped."""
        self._closing.set()
        self._wake.set()
        if self._thread.is_alive():
            self._thread.join()
        if self._helpers is not None:
            self._helpers.shutdown()

    # ---- use

    @property
    def backlog(self) -> Backlog:
        """Nothing: a change is answered when the indexes have followed."""
        return Backlog(0, 0.0)

    def search(self, _: sa.Connection, place: Place, probes: Matrix, k: int) -> list[CandidateList]:
        """Search the index of a collection and model."""
        index = self._indexes.get(place)
        return [CandidateList.nothing() for _ in probes] if index is None else index.search(probes, k)

    def leave_out(self, place: Place, rows: Sequence[int]) -> None:
        """Drop templates from one index, as if they were removed."""
        if (index := self._indexes.get(place)) is not None:
            index.remove(np.array(sorted(rows), np.int64))

    def count(self, _: sa.Connection, place: Place) -> int:
        """Count the templates in one index."""
        index = self._indexes.get(place)
        return 0 if index is None else len(index)

    def sizes(self, _: sa.Connection) -> dict[Place, tuple[int, int]]:
        """Return templates and bytes of memory of every index."""
        return {place: (len(index), index.memory) for place, index in list(self._indexes.items())}

    def places(self, _: sa.Connection) -> list[Place]:
        """Return where an index holds anything."""
        return [place for place, index in list(self._indexes.items()) if len(index)]

    def entries(self, _: sa.Connection, place: Place) -> Iterator[tuple[Rows, Rows, Matrix]]:
        """Return all that one index holds, in parts."""
        index = self._indexes.get(place)
        return iter(()) if index is None else index.entries()

    def check(self) -> None:
        """Check nothing: the index is in this process's memory."""

    def indexes(self) -> list[TieredIndex]:
        """Return all indexes, at this moment."""
        return list(self._indexes.values())

    def apply(self, changes: Sequence[IndexChange]) -> None:
        """Follow committed changes: what is added, all together, then what is removed, in order.

        Whoever changes hands is found at every moment so, under the one row or the other; rows are never given twice.
        """
        self._add([change for change in changes if isinstance(change, Added)])
        for change in changes:
            if isinstance(change, Removed):
                index = self._indexes.get((change.collection, change.model))
                if index is not None:
                    index.remove(np.array(change.rows, np.int64))
            elif isinstance(change, Dropped):
                for place in [place for place in self._indexes if place[0] == change.collection]:
                    index = self._indexes.pop(place)
                    index.discard()
                    self._discarded.append(index)
        if any(index.wants_compaction for index in self.indexes()):
            self._wake.set()

    def compact(self, *, thorough: bool = True) -> None:
        """Compact everything now, on this thread."""
        self._provide_files()
        for index in self.indexes():
            while index.compact(self._closing.is_set, thorough=thorough):
                pass

    def erase(self) -> None:
        """Delete the files that hold a removed vector. They are written again within a minute, without it."""
        for index in self.indexes():
            index.erase()
        for index in list(self._discarded):  # each stays in it until it is erased: others erase at the same time
            index.erase()
            with suppress(ValueError):  # another was faster
                self._discarded.remove(index)

    def reseal(self) -> None:
        """Write every segment file again, under the key that seals now."""
        for index in self.indexes():
            index.rewrite()

    def _add(self, added: list[Added]) -> None:
        def place(change: Added) -> Place:
            return change.collection, change.model

        for key, run in groupby(sorted(added, key=place), place):
            batch = list(run)
            matrix = np.stack([change.vector for change in batch])
            index = self._indexes.get(key) or self._made(key, matrix.shape[1])
            rows = np.array([change.row for change in batch], np.int64)
            index.add(rows, np.array([change.subject for change in batch], np.int64), matrix)

    def _made(self, place: Place, dim: int) -> TieredIndex:
        # Without files: they are named by what the database says, and who applies changes must not need it.
        self._indexes[place] = TieredIndex(dim, self._tiers, helpers=self._helpers)
        self._wake.set()
        return self._indexes[place]

    def _provide_files(self) -> None:
        """Give files to the indexes that were made since, and remember their models."""
        bare = [(place, index) for place, index in list(self._indexes.items()) if index.files is None]
        if not bare:
            return
        with self._engine.connect() as connection:
            for place, index in bare:
                digest = str(connection.scalar(sa.select(models.c.digest).where(models.c.row == place[1])))
                index.files = self._folder_of(connection, place, digest, index.dim)
                self.models[digest] = (place[1], index.dim)

    def _folder_of(self, connection: sa.Connection, place: Place, digest: str, dim: int) -> SegmentFolder:
        return SegmentFolder(self._directory / _folder(place), source.store_id(connection), digest, dim, self._keyring)

    def _forget_files(self, in_use: set[str]) -> None:
        for folder in self._directory.iterdir() if self._directory.is_dir() else ():
            if folder.name not in in_use:
                SegmentFolder(folder, "", "", 0, self._keyring).clear()

    def _compact(self) -> None:
        # Searches and changes go first: on Linux a priority belongs to the thread.
        os.setpriority(os.PRIO_PROCESS, threading.get_native_id(), 10)
        erased = time.monotonic()
        while True:
            self._wake.wait(COMPACT_EVERY)
            self._wake.clear()
            if self._closing.is_set():
                return
            thorough = time.monotonic() - erased > self._erase_within
            try:
                self.compact(thorough=thorough)
                for index in self.indexes():
                    index.write_missing(self._closing.is_set)
            except BuildStopped:
                return
            except Exception:  # what is not compacted is still found; the next attempt may go better
                log.exception("settling failed")
                self._closing.wait(COMPACT_EVERY)
            if thorough:
                erased = time.monotonic()


def idle_cores() -> ThreadPoolExecutor | None:
    """Return threads for the cores that one search leaves idle, where there is more than one core."""
    cores = len(os.sched_getaffinity(0))
    return ThreadPoolExecutor(cores - 1, "gallery-helper") if cores > 1 else None


def prefer_matrix_products(cores: int) -> None:
    """Let faiss compare several probes with BLAS: by default it does so only from probes * dimensions = 128,000 on.

    The value is faiss' own, one per process; it changes no result, and from 800 a core on the products are faster.
    """
    faiss.cvar.distance_compute_blas_threshold = 800 * cores


def _folder(place: Place) -> str:
    return f"{place[0]}-{place[1]}"
