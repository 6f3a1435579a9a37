"""All indexes of a gallery, one per collection and model, derived from the record."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Sequence
from itertools import groupby

import numpy as np
import sqlalchemy as sa

from service.gallery import vectors
from service.gallery.effects import Added, Dropped, Effect, Removed
from service.gallery.index import Matrix, Rows, VectorIndex
from service.gallery.queries import Place, places
from service.gallery.records import Loaded, Progress
from service.gallery.schema import templates
from service.gallery.tiered import TieredIndex

CHUNK = 16_384


class Shelf:
    """Keeps the indexes in step with the record. One thread applies changes; any thread searches."""

    def __init__(self, engine: sa.Engine) -> None:
        self._engine = engine
        self._indexes: dict[Place, VectorIndex] = {}

    def load(self, progress: Callable[[Progress], None] | None = None) -> Loaded:
        """Bring every index to the state of the record."""
        started = time.perf_counter()
        held = 0
        with self._engine.connect() as connection:
            for place, name, digest, dim, total in places(connection):
                index = TieredIndex(dim)
                for rows, groups, matrix in stored(connection, place, dim):
                    index.add(rows, groups, matrix)
                    if progress is not None:
                        progress(Progress(name, digest, len(index), total, "record"))
                self._indexes[place] = index
                held += len(index)
        return Loaded(held, 0, held, (), time.perf_counter() - started)

    def get(self, place: Place) -> VectorIndex | None:
        """The index of a collection and model, if anything was ever added to it."""
        return self._indexes.get(place)

    def items(self) -> list[tuple[Place, VectorIndex]]:
        """All indexes, at this moment."""
        return list(self._indexes.items())

    def apply(self, effects: Sequence[Effect]) -> None:
        """Follow committed changes, in order; additions that stand together go in together."""
        for kind, run in groupby(effects, type):
            if kind is Added:
                self._add([effect for effect in run if isinstance(effect, Added)])
                continue
            for effect in run:
                if isinstance(effect, Removed):
                    index = self._indexes.get((effect.collection, effect.model))
                    if index is not None:
                        index.remove(np.array(effect.rows, np.int64))
                elif isinstance(effect, Dropped):
                    for place in [place for place in self._indexes if place[0] == effect.collection]:
                        del self._indexes[place]

    def _add(self, added: list[Added]) -> None:
        def place(effect: Added) -> Place:
            return effect.collection, effect.model

        for key, run in groupby(sorted(added, key=place), place):
            batch = list(run)
            matrix = np.stack([effect.vector for effect in batch])
            index = self._indexes.get(key)
            if index is None:
                index = self._indexes[key] = TieredIndex(matrix.shape[1])
            rows = np.array([effect.row for effect in batch], np.int64)
            index.add(rows, np.array([effect.subject for effect in batch], np.int64), matrix)


def stored(connection: sa.Connection, place: Place, dim: int) -> Iterator[tuple[Rows, Rows, Matrix]]:
    """The templates of a collection and model in the order of their rows, in chunks: rows, groups, float32 vectors."""
    asked = (
        sa.select(templates.c.row, templates.c.subject_row, templates.c.vector)
        .where(templates.c.collection_row == place[0], templates.c.model_row == place[1])
        .order_by(templates.c.row)
    )
    for part in connection.execution_options(yield_per=CHUNK).execute(asked).partitions():
        rows, groups, blobs = zip(*part, strict=True)
        matrix = vectors.unpack(blobs, dim).astype(np.float32)
        yield np.array(rows, np.int64), np.array(groups, np.int64), matrix
