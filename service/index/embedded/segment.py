"""Segments: compressed vectors; 4-bit product quantisation finds a short list, float16 puts it in order.

Every vector is scanned, by table look-ups on 4-bit codes in registers (Andre et al., "Quicker ADC", 2019; faiss' fast
scan), so no neighbour is lost in a cell or graph never visited; the short list is scored again with the float16 values
of the database. A segment never changes, except that a flag is cleared where a vector was removed.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Executor
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import faiss
import numpy as np
from numpy.typing import NDArray

from service.index.base import Matrix, Rows
from service.index.embedded.memtable import find

SAMPLE = 16_384
"""Vectors that the codebook is trained on; more do not improve the recall."""
ENOUGH = 1_024
"""Below that the sample is filled up with noise."""
LEAST = 192
"""Codes of a segment that are at least short-listed."""
CHUNK = 8_192
WORTH_SHARING = 4
"""Segments from which on handing some of them to other threads costs less than it saves."""


class BuildStopped(Exception):
    """The gallery closes; what was being built is not needed."""


@dataclass(frozen=True, slots=True)
class Segment:
    """Vectors by ascending row. `alive` is the only array whose entries change."""

    codes: faiss.IndexPQFastScan
    """Finds the short list."""
    vectors: NDArray[np.float16]
    """(N,D), as the database holds them."""
    rows: Rows
    groups: Rows
    alive: NDArray[np.bool_]
    file: Path | None = field(default=None)

    @property
    def memory(self) -> int:
        """Bytes held: codes, float16 values, rows, groups and flags."""
        return self.codes.codes.size() + self.vectors.nbytes + 17 * len(self.rows)


Part = tuple[Rows, Rows, NDArray[np.float32] | NDArray[np.float16], Rows]
"""Rows, groups and vectors of a source, and the positions in it that are wanted."""


def build(parts: Sequence[Part], dim: int, stopped: Callable[[], bool]) -> Segment:
    """Build one segment out of the wanted vectors of several sources.

    Raises:
        BuildStopped: `stopped` said so.
    """
    rows = np.concatenate([part_rows[places] for part_rows, _, _, places in parts])
    groups = np.concatenate([part_groups[places] for _, part_groups, _, places in parts])
    codes = faiss.IndexPQFastScan(dim, _pieces(dim), 4, faiss.METRIC_INNER_PRODUCT)
    codes.pq.cp.min_points_per_centroid = 1  # faiss would warn on stderr; small segments occur after deletions
    order = np.argsort(rows, kind="stable")
    every = max(1, len(rows) // SAMPLE)
    sample = np.concatenate(list(_gather(parts, order[::every], stopped)))
    codes.train(np.concatenate([sample, _noise(max(0, ENOUGH - len(sample)), dim)]))
    vectors = np.empty((len(rows), dim), np.float16)
    for chunk in _gather(parts, order, stopped):
        vectors[codes.ntotal : codes.ntotal + len(chunk)] = chunk
        codes.add(chunk)
    return Segment(codes, vectors, rows[order], groups[order], np.ones(len(rows), bool))


def _noise(count: int, dim: int) -> Matrix:
    """Gaussian directions: a codebook for very few vectors is made of what fits any."""
    values = np.random.default_rng(0).standard_normal((count, dim)).astype(np.float32)
    return np.asarray(values / np.linalg.norm(values, axis=1, keepdims=True), np.float32)


def _pieces(dim: int) -> int:
    """Sub-vectors of four dimensions each, one bit a dimension; of fewer where `dim` does not divide."""
    return dim // next(width for width in (4, 3, 2, 1) if dim % width == 0)


def _gather(parts: Sequence[Part], order: Rows, stopped: Callable[[], bool]) -> Iterator[Matrix]:
    """The wanted vectors in `order`, as float32, some thousand at a time: other threads get their turn in between."""
    lengths = np.array([len(places) for _, _, _, places in parts])
    starts = np.cumsum(lengths) - lengths
    for begin in range(0, len(order), CHUNK):
        if stopped():
            raise BuildStopped
        positions = order[begin : begin + CHUNK]
        chunk = np.empty((len(positions), parts[0][2].shape[1]), np.float32)
        source = np.searchsorted(starts, positions, "right") - 1
        for number in np.unique(source):
            here = source == number
            _, _, vectors, places = parts[number]
            chunk[here] = vectors[places[positions[here] - starts[number]]]
        yield chunk


@dataclass(frozen=True, slots=True)
class SegmentSet:
    """All segments as one: their arrays are slices of the arrays here, and positions count through."""

    members: tuple[Segment, ...]
    starts: tuple[int, ...]
    rows: Rows
    groups: Rows
    alive: NDArray[np.bool_]

    @staticmethod
    def of(segments: Sequence[Segment]) -> SegmentSet:
        """Join segments, of which each keeps its codes and its file."""
        if not segments:
            nothing = np.empty(0, np.int64)
            return SegmentSet((), (), nothing, nothing, np.empty(0, bool))
        rows = np.concatenate([segment.rows for segment in segments])
        groups = np.concatenate([segment.groups for segment in segments])
        alive = np.concatenate([segment.alive for segment in segments])
        sliced = []
        start = 0
        for segment in segments:
            part = slice(start, start + len(segment.rows))
            sliced.append(replace(segment, rows=rows[part], groups=groups[part], alive=alive[part]))
            start = part.stop
        starts = np.cumsum([0, *(len(segment.rows) for segment in segments[:-1])])
        return SegmentSet(tuple(sliced), tuple(starts.tolist()), rows, groups, alive)

    def nearest(
        self, probes: Matrix, k: int, shortlist: int, helpers: Executor | None = None
    ) -> tuple[NDArray[np.float32], Rows]:
        """Find about the k best of all entries, the dead included: (Q,K) cosines, descending, and positions; K <= k.

        The `shortlist` closest codes, shared out among the segments (but not fewer than `LEAST` of each, nor than k),
        are put in order by their float16 values. Idle `helpers` scan some of the segments.
        """
        share = max(k, LEAST, shortlist // len(self.members))
        short = self._scan(probes, share, helpers)
        width = 2 * probes.shape[1]
        values = [segment.vectors.view(f"V{width}").ravel() for segment in self.members]
        ends = np.cumsum([candidates.shape[1] for candidates in short]).tolist()
        gathered = np.empty(ends[-1], f"V{width}")
        k = min(k, ends[-1])
        scores, positions = np.empty((len(probes), k), np.float32), np.empty((len(probes), k), np.int64)
        everywhere = np.concatenate(
            [candidates + start for candidates, start in zip(short, self.starts, strict=True)], axis=1
        )
        # faiss scores float16 against float32 with vector instructions, but only inside an index: a small one is filled
        # with the values of each short list.
        scorer: Any = faiss.IndexScalarQuantizer(
            probes.shape[1], faiss.ScalarQuantizer.QT_fp16, faiss.METRIC_INNER_PRODUCT
        )
        scorer.train(probes)
        for number in range(len(probes)):
            for candidates, source, end in zip(short, values, ends, strict=True):
                np.take(source, candidates[number], out=gathered[end - candidates.shape[1] : end], mode="clip")
            scorer.reset()
            scorer.add_sa_codes(gathered.view(np.uint8).reshape(-1, width))
            scores[number], best = scorer.search(probes[number : number + 1], k)
            positions[number] = everywhere[number][best[0]]
        return scores, positions

    def _scan(self, probes: Matrix, share: int, helpers: Executor | None) -> list[Rows]:
        """The `share` closest codes of each segment."""

        def scan(segment: Segment) -> Rows:
            candidates: Rows = segment.codes.search(probes, min(share, len(segment.rows)))[1]
            return candidates

        if helpers is None or len(self.members) < WORTH_SHARING:
            return [scan(segment) for segment in self.members]
        futures = {place: helpers.submit(scan, self.members[place]) for place in range(1, len(self.members), 2)}
        candidates = {place: scan(self.members[place]) for place in range(0, len(self.members), 2)}
        for place in reversed(futures):  # what no helper has begun by now is done here, from the end of their queue
            future = futures[place]
            candidates[place] = scan(self.members[place]) if future.cancel() else future.result()
        return [candidates[place] for place in range(len(self.members))]

    def clear(self, rows: Rows) -> int:
        """Flag `rows` as removed; returns how many were there."""
        cleared = 0
        for segment in self.members:
            positions = find(segment.rows, segment.alive, rows)
            segment.alive[positions] = False
            cleared += len(positions)
        return cleared
