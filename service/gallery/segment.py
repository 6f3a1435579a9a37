"""Settled vectors, compressed: 4-bit product quantisation finds a short list, float16 puts it in order.

Every vector is scanned, by table look-ups on 4-bit codes in registers (Andre et al., "Quicker ADC", 2019; faiss' fast
scan), so no neighbour is lost in a cell or graph never visited; the short list is scored again with the float16 values
of the record. A segment never changes, except that a flag is cleared where a vector was removed.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import faiss
import numpy as np
from numpy.typing import NDArray

from service.gallery.block import find
from service.gallery.index import Matrix, Rows

SAMPLE = 16_384
"""Vectors that the codebook is trained on; more do not improve the recall."""
ENOUGH = 1_024
"""Below that the sample is filled up with noise."""
CHUNK = 8_192
_FAISS: Any = faiss
"""For what faiss' type stubs leave out."""


class BuildStopped(Exception):
    """The gallery closes; what was being built is not needed."""


@dataclass(frozen=True, slots=True)
class Segment:
    """Vectors by ascending row. `alive` is the only array whose entries change."""

    index: faiss.IndexRefine
    rows: Rows
    groups: Rows
    alive: NDArray[np.bool_]
    file: Path | None = field(default=None)

    @property
    def vectors(self) -> NDArray[np.float16]:
        """The (N,D) float16 values; a view of the index's memory."""
        refine: Any = faiss.downcast_index(self.index.refine_index)
        codes = refine.codes
        flat = faiss.rev_swig_ptr(codes.data(), codes.size())
        return np.asarray(flat.view(np.float16).reshape(len(self.rows), self.index.d))

    @property
    def memory(self) -> int:
        """Bytes held: codes, float16 values, rows, groups and flags."""
        base: Any = faiss.downcast_index(self.index.base_index)
        return int(base.codes.size()) + len(self.rows) * (2 * self.index.d + 17)


Part = tuple[Rows, Rows, NDArray[np.float32] | NDArray[np.float16], Rows]
"""Rows, groups and vectors of a source, and the positions in it that are wanted."""


def build(parts: Sequence[Part], dim: int, stopped: Callable[[], bool]) -> Segment:
    """One segment out of the wanted vectors of several sources.

    Raises:
        BuildStopped: `stopped` said so.
    """
    rows = np.concatenate([part_rows[wanted] for part_rows, _, _, wanted in parts])
    groups = np.concatenate([part_groups[wanted] for _, part_groups, _, wanted in parts])
    base = faiss.IndexPQFastScan(dim, _pieces(dim), 4, faiss.METRIC_INNER_PRODUCT)
    base.pq.cp.min_points_per_centroid = 1  # faiss would warn on stderr; small segments occur after deletions
    refine = faiss.IndexScalarQuantizer(dim, faiss.ScalarQuantizer.QT_fp16, faiss.METRIC_INNER_PRODUCT)
    order = np.argsort(rows, kind="stable")
    every = max(1, len(rows) // SAMPLE)
    sample = np.concatenate(list(_gather(parts, order[::every], stopped)))
    base.train(np.concatenate([sample, _noise(max(0, ENOUGH - len(sample)), dim)]))
    refine.train(sample[:1])
    for vectors in _gather(parts, order, stopped):
        base.add(vectors)
        refine.add(vectors)
    index = faiss.IndexRefine(base, refine)
    return Segment(index, rows[order], groups[order], np.ones(len(rows), bool))


def _noise(count: int, dim: int) -> Matrix:
    """Gaussian directions: a codebook for very few vectors is made of what fits any."""
    values = np.random.default_rng(0).standard_normal((count, dim)).astype(np.float32)
    return np.asarray(values / np.linalg.norm(values, axis=1, keepdims=True), np.float32)


def _pieces(dim: int) -> int:
    """Sub-vectors of four dimensions each, one bit a dimension; of fewer where `dim` does not divide."""
    return dim // next(width for width in (4, 3, 2, 1) if dim % width == 0)


def _gather(parts: Sequence[Part], order: Rows, stopped: Callable[[], bool]) -> Iterator[Matrix]:
    """The wanted vectors in `order`, as float32, some thousand at a time: other threads get their turn in between."""
    lengths = np.array([len(wanted) for _, _, _, wanted in parts])
    starts = np.cumsum(lengths) - lengths
    for begin in range(0, len(order), CHUNK):
        if stopped():
            raise BuildStopped
        asked = order[begin : begin + CHUNK]
        chunk = np.empty((len(asked), parts[0][2].shape[1]), np.float32)
        source = np.searchsorted(starts, asked, "right") - 1
        for number in np.unique(source):
            here = source == number
            _, _, vectors, wanted = parts[number]
            chunk[here] = vectors[wanted[asked[here] - starts[number]]]
        yield chunk


@dataclass(frozen=True, slots=True)
class Settled:
    """All segments as one: their arrays are slices of the arrays here, and positions count through."""

    segments: tuple[Segment, ...]
    rows: Rows
    groups: Rows
    alive: NDArray[np.bool_]
    shards: Any

    @staticmethod
    def of(segments: Sequence[Segment]) -> Settled:
        """Segments in one, of which each keeps its index and file."""
        if not segments:
            nothing = np.empty(0, np.int64)
            return Settled((), nothing, nothing, np.empty(0, bool), None)
        rows = np.concatenate([segment.rows for segment in segments])
        groups = np.concatenate([segment.groups for segment in segments])
        alive = np.concatenate([segment.alive for segment in segments])
        shards: Any = _FAISS.IndexShards(segments[0].index.d, False, True)
        sliced = []
        start = 0
        for segment in segments:
            part = slice(start, start + len(segment.rows))
            sliced.append(Segment(segment.index, rows[part], groups[part], alive[part], segment.file))
            shards.add_shard(segment.index)
            start = part.stop
        return Settled(tuple(sliced), rows, groups, alive, shards)

    def nearest(self, probes: Matrix, k: int, shortlist: int) -> tuple[NDArray[np.float32], Rows]:
        """About the k best of all entries, the dead included: (Q,k) cosines, descending, and positions, -1 for none.

        Each segment puts its `shortlist` (or k, if more) closest codes in order by their float16 values.
        """
        longest = max(len(segment.rows) for segment in self.segments)
        k = min(k, longest)
        factor = min(max(1.0, shortlist / k), longest / k)
        scores, positions = self.shards.search(probes, k, params=_FAISS.IndexRefineSearchParameters(k_factor=factor))
        return scores, positions

    def clear(self, rows: Rows) -> int:
        """Flag `rows` as removed; returns how many were there."""
        cleared = 0
        for segment in self.segments:
            positions = find(segment.rows, segment.alive, rows)
            segment.alive[positions] = False
            cleared += len(positions)
        return cleared
