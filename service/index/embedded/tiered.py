"""One embedded index: an exact memtable for what is fresh, compressed segments for the rest."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Executor
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from service.database.errors import ErasureUnfinished
from service.index.base import CandidateList, Matrix, Rows, distinct
from service.index.embedded.memtable import SMALLEST, Memtable, find
from service.index.embedded.segment import CHUNK, BuildStopped, Part, Segment, SegmentSet, build

TRIES = 3
"""How often a search is made at most while something is removed beside it."""


@dataclass(frozen=True, slots=True)
class Tiers:
    """Sizes at which vectors change their place, and how deep the compressed part is searched."""

    exact: int = 65_536
    """Up to so many vectors every search is exact and nothing is compressed."""
    fresh: int = 8_192
    """Beyond that, fresh vectors that gather before they are compacted. They cost a search more than the rest."""
    segment: int = 131_072
    """Vectors of a full segment: what one rebuild works on, and by how much memory grows meanwhile."""
    shortlist: int = 1_024
    """Closest codes that are scored again, in all segments together."""
    dead: float = 0.2
    """Share of removed vectors at which a segment is rebuilt without them."""


class SegmentFiles(Protocol):
    """Where segments are kept between runs."""

    def write(self, segment: Segment) -> Path | None:
        """Keep a segment; None when it could not be, which costs only time at the next start."""
        ...

    def remove(self, file: Path) -> None:
        """Forget a segment."""
        ...

    def clear(self) -> bool:
        """Forget all; returns whether none is left."""
        ...


@dataclass(frozen=True, slots=True)
class View:
    """One consistent state; searches keep the one they began with."""

    segments: SegmentSet
    memtable: Memtable
    living: int


@dataclass(frozen=True, slots=True)
class _Seen:
    """The living candidates for one probe.

    Also how many dead took places in the short list, and the best that the rest could score.
    """

    rows: Rows
    groups: Rows
    scores: NDArray[np.float32]
    dead: int
    unseen: float


class TieredIndex:
    """The index of one collection and model. Reads take no lock: they work on the last published view.

    Changes of one thread and rebuilds of another may go on beside searches of any number of threads.
    """

    def __init__(
        self,
        dim: int,
        tiers: Tiers | None = None,
        *,
        files: SegmentFiles | None = None,
        segments: Sequence[Segment] = (),
        room: int = SMALLEST,
        helpers: Executor | None = None,
    ) -> None:
        """Make an index of `segments`, or of nothing; `files` is where later segments are kept.

        `room` is made for so many fresh vectors; more find theirs, at the price of a copy. `helpers` take part in
        searches of many segments while they are idle.
        """
        self.dim = dim
        self._tiers = tiers or Tiers()
        self.files = files
        """Where later segments are kept; may be given later, and is never taken away."""
        self._helpers = helpers
        held = SegmentSet.of(segments)
        self._view = View(held, Memtable.empty(dim, max(room, SMALLEST)), int(np.count_nonzero(held.alive)))
        self._change = threading.Lock()
        self._compacting = threading.Lock()
        self._gone = False
        self._erasing = self._removals = 0

    def add(self, rows: Rows, groups: Rows, vectors: Matrix) -> None:
        """Append to the memtable; every search that begins after the return sees it."""
        with self._change:
            view = self._view
            self._view = replace(
                view, memtable=view.memtable.extended(rows, groups, vectors), living=view.living + len(rows)
            )

    def remove(self, rows: Rows) -> int:
        """Clear the flags of `rows`; no search that begins after the return gives them back."""
        with self._change:
            self._removals += 1  # before any flag is cleared: searches under way look again
            view = self._view
            positions = view.memtable.positions(rows)
            view.memtable.alive[positions] = False
            removed = len(positions) + view.segments.clear(rows)
            fresh = view.memtable
            if len(positions):
                dead = fresh.length - int(np.count_nonzero(fresh.alive[: fresh.length]))
                if dead > max(1024, fresh.length // 4):
                    fresh = fresh.without(np.empty(0, np.int64))
            self._view = replace(view, memtable=fresh, living=view.living - removed)
        return removed

    def search(self, probes: Matrix, k: int) -> list[CandidateList]:
        """Search the memtable exactly and the segments by short list, until k groups are found or all is seen.

        What is removed meanwhile may have been added again under another row, which the view of before lacks: then the
        search is made again.
        """
        for _ in range(TRIES):
            removals = self._removals
            results = self._search(self._view, probes, k)
            if removals == self._removals:
                break
        return results

    def rows(self) -> Rows:
        """Return all living rows, ascending."""
        view = self._view
        fresh = view.memtable.rows[: view.memtable.length][view.memtable.alive[: view.memtable.length]]
        return np.sort(np.concatenate([view.segments.rows[view.segments.alive], fresh]))

    def entries(self) -> Iterator[tuple[Rows, Rows, Matrix]]:
        """Yield all living entries in parts: rows, groups, vectors as they are searched."""
        view = self._view
        fresh = np.flatnonzero(view.memtable.alive[: view.memtable.length])
        sources: list[Part] = [
            (part.rows, part.groups, part.vectors, np.flatnonzero(part.alive)) for part in view.segments.members
        ]
        for rows, groups, vectors, living in [
            *sources,
            (view.memtable.rows, view.memtable.groups, view.memtable.vectors, fresh),
        ]:
            for start in range(0, len(living), CHUNK):
                chosen = living[start : start + CHUNK]
                yield rows[chosen], groups[chosen], vectors[chosen].astype(np.float32)

    def __len__(self) -> int:
        """Vectors that are alive."""
        return self._view.living

    @property
    def memory(self) -> int:
        """Bytes of all parts."""
        view = self._view
        return view.memtable.memory + sum(segment.memory for segment in view.segments.members)

    @property
    def fresh(self) -> int:
        """Vectors in the memtable, the dead among them included."""
        return self._view.memtable.length

    @property
    def segments(self) -> int:
        """Segments at this moment."""
        return len(self._view.segments.members)

    def _search(self, view: View, probes: Matrix, k: int) -> list[CandidateList]:
        nothing = np.empty(0, np.int64)
        results = [CandidateList(nothing, nothing, np.empty(0, np.float32))] * len(probes)
        total = view.memtable.length + len(view.segments.rows)
        waiting = np.arange(len(probes))
        reach = min(k + 8, total)
        while len(waiting) and reach:
            deeper = []
            for place, seen in zip(waiting, self._look(view, probes[waiting], reach), strict=True):
                best = distinct(seen.rows, seen.groups, seen.scores, k)
                results[place] = best
                enough = len(best.rows) == k and best.scores[-1] >= seen.unseen
                if reach < total and (not enough or 2 * seen.dead > reach):
                    deeper.append(place)
            waiting = np.array(deeper, np.int64)
            reach = min(4 * reach, total)
        return results

    def _look(self, view: View, probes: Matrix, reach: int) -> list[_Seen]:
        """The `reach` best of each tier, for each probe."""
        tiers: list[tuple[Memtable | SegmentSet, Matrix, Rows]] = []
        if view.memtable.length:
            tiers.append((view.memtable, *view.memtable.nearest(probes, reach)))
        if view.segments.members:
            tiers.append((view.segments, *view.segments.nearest(probes, reach, self._tiers.shortlist, self._helpers)))
        result = []
        for number in range(len(probes)):
            rows, groups, scores, dead, unseen = [], [], [], 0, -np.inf
            for part, tier_scores, tier_positions in tiers:
                positions, values = tier_positions[number], tier_scores[number]
                kept = positions >= 0
                held = int(np.count_nonzero(kept))
                if held < len(part.rows):
                    unseen = max(unseen, float(values[held - 1]))
                kept[kept] = part.alive[positions[kept]]
                if part is view.segments:  # the fresh part is searched exactly: its dead crowd nobody out
                    dead += held - int(np.count_nonzero(kept))
                rows.append(part.rows[positions[kept]])
                groups.append(part.groups[positions[kept]])
                scores.append(values[kept])
            result.append(_Seen(np.concatenate(rows), np.concatenate(groups), np.concatenate(scores), dead, unseen))
        return result

    def discard(self) -> None:
        """Forget everything, the files too, of a collection that is gone; a rebuild under way ends without effect."""
        with self._change:
            self._gone = True
            self._view = View(SegmentSet.of(()), Memtable.empty(self.dim), 0)
        if self._compacting.acquire(blocking=False):
            self._clear_files()
            self._compacting.release()

    def _clear_files(self) -> bool:
        return self.files is None or self.files.clear()

    # ---- settling

    def compact(self, stopped: Callable[[], bool] = lambda: False, *, thorough: bool = False) -> bool:
        """Do the most pressing piece of rebuilding, if any, beside searches and changes; True when something was done.

        Args:
            stopped: Asked now and then; True ends the work without effect.
            thorough: Also drop the last dead vector, from memory and from file.

        Raises:
            BuildStopped: `stopped` said so.
        """
        with self._compacting:
            try:
                return self._compact(stopped, thorough)
            except BuildStopped:
                if self._gone:
                    self._clear_files()
                elif not self._erasing:
                    raise
                return False

    def _compact(self, stopped: Callable[[], bool], thorough: bool) -> bool:
        view = self._view
        plan = self._plan(view, thorough)
        if plan is None:
            return False
        first, last, with_fresh = plan
        old = view.segments.members[first:last]
        parts: list[Part] = [
            (segment.rows, segment.groups, segment.vectors, np.flatnonzero(segment.alive)) for segment in old
        ]
        if with_fresh:
            fresh = view.memtable
            room = max(0, self._tiers.segment - sum(len(part[3]) for part in parts))
            places = np.flatnonzero(fresh.alive[: fresh.length])[:room]
            parts.append((fresh.rows, fresh.groups, fresh.vectors, places))
        new: Segment | None = None
        if sum(len(part[3]) for part in parts):
            new = build(parts, self.dim, lambda: self._gone or bool(self._erasing) or stopped())
            if self.files is not None:
                new = replace(new, file=self.files.write(new))
        if not self._swap(first, last, new, with_fresh):
            raise BuildStopped
        for segment in old:
            if segment.file is not None and self.files is not None:
                self.files.remove(segment.file)
        return True

    def erase(self) -> None:
        """Delete the files that hold a dead vector; a rebuild under way is given up, for it may be writing one.

        Raises:
            ErasureUnfinished: A file cannot be deleted.
        """
        if not self._gone and not self._compacting.locked() and not self._spoiled():
            return
        with self._change:
            self._erasing += 1
        try:
            with self._compacting:
                if self._gone:
                    if not self._clear_files():
                        raise ErasureUnfinished
                    return
                for number in self._spoiled():
                    segment = self._view.segments.members[number]
                    if self.files is not None and segment.file is not None:
                        self.files.remove(segment.file)
                        if segment.file.exists():
                            raise ErasureUnfinished
                    self._swap(number, number + 1, replace(segment, file=None), False)
        finally:
            with self._change:
                self._erasing -= 1

    def write_missing(self, stopped: Callable[[], bool]) -> None:
        """Build again, without dead vectors, the segments whose files were deleted.

        Raises:
            BuildStopped: `stopped` said so.
        """
        missing = [number for number, segment in enumerate(self._view.segments.members) if segment.file is None]
        for _ in missing if self.files is not None else ():
            self.compact(stopped, thorough=True)

    def _spoiled(self) -> list[int]:
        """Segments whose files hold a dead vector."""
        return [
            number
            for number, segment in enumerate(self._view.segments.members)
            if segment.file is not None and not segment.alive.all()
        ]

    def rewrite(self) -> None:
        """Write every segment to a new file and delete the old one; none is written that holds a dead vector.

        A segment with dead vectors only loses its file: `write_missing` builds it again without them.
        """
        with self._compacting:
            if self.files is None or self._gone:
                return
            for number, segment in enumerate(self._view.segments.members):
                file = self.files.write(segment) if segment.alive.all() else None
                if not self._swap(number, number + 1, replace(segment, file=file), False):
                    self._clear_files()
                    return
                if segment.file is not None:
                    self.files.remove(segment.file)

    @property
    def wants_compaction(self) -> bool:
        """Whether `compact` would do something."""
        return self._plan(self._view, False) is not None

    def _plan(self, view: View, thorough: bool) -> tuple[int, int, bool] | None:
        """Which segments, from first to before last, become one new one, and whether fresh vectors join them."""
        segments = view.segments.members
        tiers = self._tiers
        fresh = int(np.count_nonzero(view.memtable.alive[: view.memtable.length]))
        if fresh > (tiers.fresh if segments else tiers.exact):
            # The youngest segment is built again together with fresh vectors until it is full: few segments, and no
            # vector is handled more than segment / fresh times.
            count = len(segments)
            grows = bool(segments) and int(np.count_nonzero(segments[-1].alive)) <= tiers.segment - tiers.fresh
            return count - grows, count, True
        living = [int(np.count_nonzero(segment.alive)) for segment in segments]
        for number, segment in enumerate(segments):
            dead = len(segment.rows) - living[number]
            if dead > (0 if thorough else tiers.dead * len(segment.rows)):
                last = number + 1
                if last < len(segments) and living[number] + living[last] <= tiers.segment:
                    last += 1
                return number, last, False
        return None

    def _swap(self, first: int, last: int, new: Segment | None, with_fresh: bool) -> bool:
        with self._change:
            if self._gone:
                return False
            view = self._view
            segments = list(view.segments.members)
            fresh = view.memtable
            if new is not None:  # something may have been removed while it was built
                present = [segment.rows[segment.alive] for segment in segments[first:last]]
                if with_fresh:
                    present.append(fresh.rows[: fresh.length][fresh.alive[: fresh.length]])
                still = find(new.rows, new.alive, np.concatenate(present))
                alive = np.zeros(len(new.rows), np.bool_)  # flags of its own: searches may be reading the old ones
                alive[still] = True
                new = replace(new, alive=alive)
            segments[first:last] = [] if new is None else [new]
            if with_fresh:
                fresh = fresh.without(new.rows if new is not None else np.empty(0, np.int64))
            self._view = View(SegmentSet.of(segments), fresh, view.living)
            return True
