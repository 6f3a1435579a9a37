"""The embedded index: an exact block for what is fresh, compressed segments for what has settled."""

from __future__ import annotations

import threading
from dataclasses import dataclass, replace

import numpy as np

from service.gallery.block import Block
from service.gallery.index import Found, Matrix, Rows, distinct


@dataclass(frozen=True, slots=True)
class View:
    """One consistent state; searches keep the one they began with."""

    fresh: Block
    living: int


class TieredIndex:
    """A `VectorIndex`. Reads take no lock: they work on the last published view."""

    def __init__(self, dim: int) -> None:
        self.dim = dim
        self._view = View(Block.empty(dim), 0)
        self._change = threading.Lock()

    def add(self, rows: Rows, groups: Rows, vectors: Matrix) -> None:
        """Append to the fresh block; found by every search that begins after the return."""
        with self._change:
            view = self._view
            self._view = replace(view, fresh=view.fresh.extended(rows, groups, vectors), living=view.living + len(rows))

    def remove(self, rows: Rows) -> int:
        """Clear the flags of `rows`; no search that begins after the return gives them back."""
        with self._change:
            view = self._view
            positions = view.fresh.positions(rows)
            view.fresh.alive[positions] = False
            fresh = view.fresh
            living = view.living - len(positions)
            if fresh.length - living > max(1024, fresh.length // 4):
                fresh = fresh.tail(0)
            self._view = replace(view, fresh=fresh, living=living)
        return len(positions)

    def search(self, probes: Matrix, k: int) -> list[Found]:
        """Exact over the fresh block. Looks deeper until k groups are found or nothing is left."""
        view = self._view
        nothing = np.empty(0, np.int64)
        found = [Found(nothing, nothing, np.empty(0, np.float32))] * len(probes)
        open_ = np.arange(len(probes))
        reach = min(k + 8, view.fresh.length)
        while len(open_) and reach:
            scores, positions = view.fresh.nearest(probes[open_], reach)
            unfinished = []
            for place, row_scores, row_positions in zip(open_, scores, positions, strict=True):
                alive = view.fresh.alive[row_positions]
                kept = row_positions[alive]
                found[place] = distinct(view.fresh.rows[kept], view.fresh.groups[kept], row_scores[alive], k)
                if len(found[place].rows) < k and reach < view.fresh.length:
                    unfinished.append(place)
            open_ = np.array(unfinished, np.int64)
            reach = min(4 * reach, view.fresh.length)
        return found

    def rows(self) -> Rows:
        """All living rows, ascending."""
        fresh = self._view.fresh
        return fresh.rows[: fresh.length][fresh.alive[: fresh.length]]

    def __len__(self) -> int:
        return self._view.living

    @property
    def memory(self) -> int:
        """Bytes of all parts."""
        return self._view.fresh.memory
