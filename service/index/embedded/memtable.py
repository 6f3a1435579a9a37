"""Vectors in one float32 matrix, searched exactly: the whole of a small index and the fresh part of a large one.

A block only grows, and what it holds never moves: a search works on the first `length` vectors while more are appended
behind them, with no lock. Removal clears a flag. faiss' own indexes crash when they change under a search.
"""

from __future__ import annotations

from dataclasses import dataclass

import faiss
import numpy as np
from numpy.typing import NDArray

from service.index.base import Matrix, Rows

SMALLEST = 256


@dataclass(frozen=True, slots=True)
class Memtable:
    """The first `length` entries of arrays with room for more; `alive` is the only one whose entries change."""

    vectors: Matrix
    rows: Rows
    groups: Rows
    alive: NDArray[np.bool_]
    length: int

    @staticmethod
    def empty(dim: int, room: int = SMALLEST) -> Memtable:
        """Make a memtable of no vectors with room for `room`."""
        return Memtable(
            np.empty((room, dim), np.float32),
            np.empty(room, np.int64),
            np.empty(room, np.int64),
            np.zeros(room, bool),
            0,
        )

    def extended(self, rows: Rows, groups: Rows, vectors: Matrix) -> Memtable:
        """Return the memtable with more entries behind its own; it shares memory where there is room, or copies.

        Only the newest block of a line may be extended, by one thread at a time.
        """
        end = self.length + len(rows)
        target = self if end <= len(self.rows) else self._copied(max(end, len(self.rows) + len(self.rows) // 2))
        for array, values in (
            (target.vectors, vectors),
            (target.rows, rows),
            (target.groups, groups),
            (target.alive, True),
        ):
            array[self.length : end] = values
        return Memtable(target.vectors, target.rows, target.groups, target.alive, end)

    def without(self, rows: Rows) -> Memtable:
        """Return a memtable of the living entries but for the ascending `rows`, with memory of its own."""
        kept = self.alive[: self.length].copy()
        kept[find(self.rows[: self.length], kept, rows)] = False
        positions = np.flatnonzero(kept)
        block = Memtable.empty(self.vectors.shape[1], max(SMALLEST, len(positions)))
        return block.extended(self.rows[positions], self.groups[positions], self.vectors[positions])

    def _copied(self, room: int) -> Memtable:
        grown = Memtable.empty(self.vectors.shape[1], room)
        for new, old in ((grown.vectors, self.vectors), (grown.rows, self.rows), (grown.groups, self.groups)):
            new[: self.length] = old[: self.length]
        grown.alive[: self.length] = self.alive[: self.length]
        return Memtable(grown.vectors, grown.rows, grown.groups, grown.alive, self.length)

    def positions(self, rows: Rows) -> Rows:
        """Return where those of `rows` stand that are held and alive."""
        return find(self.rows[: self.length], self.alive, rows)

    def nearest(self, probes: Matrix, k: int) -> tuple[NDArray[np.float32], Rows]:
        """Find the k best of all entries, the dead included: (Q,k) cosines, descending, and positions."""
        scores, positions = faiss.knn(
            probes, self.vectors[: self.length], min(k, self.length), faiss.METRIC_INNER_PRODUCT
        )
        return scores, positions

    @property
    def memory(self) -> int:
        """Bytes of the arrays."""
        return self.vectors.nbytes + self.rows.nbytes + self.groups.nbytes + self.alive.nbytes


def find(held: Rows, alive: NDArray[np.bool_], rows: Rows) -> Rows:
    """Find the positions in the ascending `held` of those `rows` that are there and alive."""
    if len(held) == 0 or len(rows) == 0:
        return np.empty(0, np.int64)
    at = np.searchsorted(held, rows)
    at = at[(at < len(held)) & (held[np.minimum(at, len(held) - 1)] == rows)]
    return np.asarray(at[alive[at]], np.int64)
