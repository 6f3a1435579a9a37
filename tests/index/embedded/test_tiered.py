"""The index against an exact search in NumPy, through additions, removals and rebuilds in any order."""

from __future__ import annotations

import os
import subprocess
import sys
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from service.database.encryption import Keyring
from service.index.base import Matrix, Rows
from service.index.embedded.segment import WORTH_SHARING, BuildStopped, SegmentSet
from service.index.embedded.segment_folder import SegmentFolder
from service.index.embedded.tiered import TieredIndex, Tiers
from tests.gallery.vectors import exact, hard_probes, people, unit
from tests.waiting import PATIENCE

DIM = 32
SMALL = Tiers(exact=300, fresh=100, segment=600, shortlist=64)
WHOLE = Tiers(exact=300, fresh=100, segment=600, shortlist=600)  # every code is scored again: exact


class IndexMachine(RuleBasedStateMachine):
    """Whatever happens to the index, a search equals the exact search of what should be in it."""

    @initialize(seed=st.integers(0, 2**16))
    def start(self, seed: int) -> None:
        self.index = TieredIndex(DIM, WHOLE)
        self.random = np.random.default_rng(seed)
        self.rows = np.empty(0, np.int64)
        self.groups = np.empty(0, np.int64)
        self.vectors = np.empty((0, DIM), np.float32)
        self.next = 1

    @rule(count=st.integers(1, 250), groups=st.integers(1, 60))
    def add(self, count: int, groups: int) -> None:
        rows = self.next + np.arange(count) * 2
        self.next = int(rows[-1]) + 1
        owners = self.random.integers(0, groups, count)
        vectors = unit(self.random.standard_normal((count, DIM))).astype(np.float16).astype(np.float32)
        self.index.add(rows, owners, vectors)
        self.rows, self.groups = np.append(self.rows, rows), np.append(self.groups, owners)
        self.vectors = np.concatenate([self.vectors, vectors])

    @precondition(lambda self: len(self.rows) > 0)
    @rule(share=st.floats(0.01, 0.9))
    def remove(self, share: float) -> None:
        gone = self.random.random(len(self.rows)) < share
        asked = np.sort(np.append(self.rows[gone], [0, self.next + 5]))
        assert self.index.remove(asked) == gone.sum()
        assert self.index.remove(asked) == 0
        self.rows, self.groups, self.vectors = self.rows[~gone], self.groups[~gone], self.vectors[~gone]

    @precondition(lambda self: len(self.rows) > 0)
    @rule(group=st.integers(0, 59))
    def remove_group(self, group: int) -> None:
        gone = self.groups == group
        assert self.index.remove(self.rows[gone]) == gone.sum()
        self.rows, self.groups, self.vectors = self.rows[~gone], self.groups[~gone], self.vectors[~gone]

    @rule(thorough=st.booleans())
    def compact(self, thorough: bool) -> None:
        while self.index.compact(thorough=thorough):
            pass
        assert not self.index.wants_compaction

    @invariant()
    def agrees(self) -> None:
        if not hasattr(self, "index"):
            return
        assert len(self.index) == len(self.rows)
        np.testing.assert_array_equal(self.index.rows(), self.rows)
        probes = unit(self.random.standard_normal((3, DIM)))
        for probe, found in zip(probes, self.index.search(probes, 4), strict=True):
            expected = exact(probe, self.rows, self.groups, self.vectors, 4)
            assert found.groups.tolist() == [group for group, _, _ in expected]
            assert found.rows.tolist() == [row for _, row, _ in expected]
            np.testing.assert_allclose(found.scores, [score for _, _, score in expected], atol=1e-5)


TestIndexMachine = IndexMachine.TestCase
TestIndexMachine.settings = settings(
    max_examples=40, stateful_step_count=20, deadline=None, suppress_health_check=list(HealthCheck)
)


def filled(count: int, tiers: Tiers, faces: int = 5, dim: int = DIM) -> tuple[TieredIndex, np.ndarray]:
    vectors = people(count, faces, dim)
    index = TieredIndex(dim, tiers)
    index.add(np.arange(1, len(vectors) + 1), np.repeat(np.arange(count), faces), vectors)
    while index.compact():
        pass
    return index, vectors


def test_settled_search_keeps_the_true_person_for_hard_probes() -> None:
    index, vectors = filled(2000, Tiers(exact=1000, fresh=500, segment=4096), dim=256)
    assert index.segments >= 2
    random = np.random.default_rng(1)
    wanted = random.integers(0, 2000, 300)
    probes = hard_probes(wanted, 2000, 256)
    approximate = np.array([one.groups[0] for one in index.search(probes, 1)])
    exactly = (probes @ vectors.T).argmax(axis=1) // 5
    assert np.mean(exactly == wanted) > 0.9
    assert np.mean(approximate == wanted) >= 0.999 * np.mean(exactly == wanted)


def test_a_subject_with_many_faces_does_not_hide_the_others() -> None:
    random = np.random.default_rng(2)
    face = unit(random.standard_normal(DIM))
    crowd = unit(face + 0.02 * random.standard_normal((500, DIM)))
    others = unit(random.standard_normal((200, DIM)))
    index = TieredIndex(DIM, SMALL)
    index.add(np.arange(700), np.append(np.zeros(500, np.int64), np.arange(1, 201)), np.concatenate([crowd, others]))
    while index.compact():
        pass
    found = index.search(face[None], 5)[0]
    expected = exact(
        face, np.arange(700), np.append(np.zeros(500, np.int64), np.arange(1, 201)), np.concatenate([crowd, others]), 5
    )
    assert found.groups.tolist() == [group for group, _, _ in expected]


def test_removed_neighbours_do_not_push_the_living_off_the_short_list() -> None:
    random = np.random.default_rng(3)
    face = unit(random.standard_normal(DIM))
    twins = unit(face + 0.02 * random.standard_normal((90, DIM)))
    lookalike = unit(face + 0.15 * random.standard_normal(DIM))
    others = unit(random.standard_normal((509, DIM)))
    index = TieredIndex(DIM, SMALL)
    index.add(np.arange(600), np.arange(600), np.concatenate([twins, lookalike[None], others]))
    while index.compact():
        pass
    assert index.segments == 1
    index.remove(np.arange(90))
    assert not index.wants_compaction
    assert index.search(face[None], 1)[0].groups.tolist() == [90]


def test_searches_beside_changes_and_rebuilds_never_see_the_removed_nor_miss_the_present() -> None:
    """Three threads: one searches, one adds and removes, one settles. faiss' own indexes crash here."""
    vectors = people(1200, 5, DIM, seed=4)
    index = TieredIndex(DIM, Tiers(exact=500, fresh=150, segment=1500))
    index.add(np.arange(1000), np.arange(1000), vectors[:1000])
    done = threading.Event()
    removed: set[int] = set()
    failures: list[str] = []

    def compact() -> None:
        while not done.is_set():
            index.compact()

    def search() -> None:
        random = np.random.default_rng(5)
        while not done.is_set():
            gone = set(removed)
            present = int(random.integers(0, 100))  # never removed below
            for one in index.search(vectors[[present, 500]], 8):
                failures.extend(f"the removed row {row} came back" for row in gone & set(one.rows.tolist()))
            if index.search(vectors[[present]], 1)[0].rows[0] != present:
                failures.append(f"row {present} was not found")

    threads = [threading.Thread(target=work) for work in (compact, search, search)]
    for thread in threads:
        thread.start()
    try:
        for step in range(100, 1000):
            index.remove(np.array([step]))
            removed.add(step)
            for new in range(1000 + 5 * (step - 100), 1000 + 5 * (step - 99)):
                index.add(np.array([new]), np.array([new]), vectors[[new]])
                if step % 20 == 0 and index.search(vectors[[new]], 1)[0].rows[0] != new:
                    failures.append(f"new row {new} was not found at once")
    finally:
        done.set()
        for thread in threads:
            thread.join()
    assert failures == []
    assert len(index) == 1000 + 4500 - 900


def test_what_gets_another_row_while_it_is_searched_for_is_found(monkeypatch: pytest.MonkeyPatch) -> None:
    """The new row is added before the old one goes, and both after the search has taken its view."""
    index, (vector, other) = TieredIndex(DIM, SMALL), people(2, 1, DIM)
    index.add(np.array([1, 2]), np.array([10, 20]), np.stack([vector, other]))
    whole, times = TieredIndex._look, iter([None])

    def look_beside_a_move(self: TieredIndex, *args: Any) -> Any:
        for _ in times:
            index.add(np.array([3]), np.array([30]), vector[None])
            index.remove(np.array([1]))
        return whole(self, *args)

    monkeypatch.setattr(TieredIndex, "_look", look_beside_a_move)
    (found,) = index.search(vector[None], 1)
    assert found.rows.tolist() == [3]


@pytest.mark.parametrize("change", [TieredIndex.rewrite, TieredIndex.erase], ids=["sealed anew", "erased"])
def test_a_changed_file_writes_nothing_that_a_search_may_be_reading(
    tmp_path: Path, change: Callable[[TieredIndex], None]
) -> None:
    folder = SegmentFolder(tmp_path, "store", "digest", DIM, Keyring.empty())
    index = TieredIndex(DIM, Tiers(exact=100, fresh=50), files=folder)
    vectors = people(100, 5, DIM)
    index.add(np.arange(500), np.arange(500), vectors)
    assert index.compact()
    index.remove(np.array([3]))
    (segment,) = index._view.segments.members
    segment.alive.flags.writeable = False
    change(index)
    assert index.search(vectors[[77]], 1)[0].rows.tolist() == [77]
    assert not list(tmp_path.iterdir())


def test_a_stopped_rebuild_leaves_the_index_as_it_was() -> None:
    index = TieredIndex(DIM, SMALL)
    vectors = people(100, 5, DIM)
    index.add(np.arange(500), np.arange(500), vectors)
    with pytest.raises(BuildStopped):
        index.compact(lambda: True)
    assert index.segments == 0
    assert index.search(vectors[[77]], 1)[0].rows.tolist() == [77]


@pytest.mark.parametrize("dim", [1, 2, 3, 30, 64, 100, 513])
def test_any_dimension_settles(dim: int, tmp_path: Path) -> None:
    random = np.random.default_rng(dim)
    vectors = unit(random.standard_normal((400, dim))).astype(np.float16).astype(np.float32)
    index = TieredIndex(dim, SMALL)
    index.add(np.arange(400), np.arange(400), vectors)
    assert index.compact()
    scores = index.search(vectors[:5], 1)
    for number, found in enumerate(scores):
        assert found.scores[0] == pytest.approx((vectors @ vectors[number]).max(), abs=1e-3)


def test_removed_fresh_vectors_do_not_deepen_the_search_of_settled_ones(monkeypatch: pytest.MonkeyPatch) -> None:
    random = np.random.default_rng(3)
    index = TieredIndex(DIM, SMALL)
    index.add(np.arange(500), np.arange(500), unit(random.standard_normal((500, DIM))))
    while index.compact():
        pass
    probe = unit(random.standard_normal((1, DIM)))
    for row in range(500, 560):
        index.add(np.array([row]), np.array([row]), unit(random.standard_normal((1, DIM))))
        index.remove(np.array([row]))
    depths: list[int] = []
    nearest = SegmentSet.nearest

    def spied(self: SegmentSet, probes: Matrix, k: int, *rest: Any) -> tuple[Matrix, Rows]:
        depths.append(k)
        return nearest(self, probes, k, *rest)

    monkeypatch.setattr(SegmentSet, "nearest", spied)
    assert len(index.search(probe, 3)[0].rows) == 3
    assert len(depths) == 1


def test_helpers_change_no_result() -> None:
    random = np.random.default_rng(5)
    vectors, probes = unit(random.standard_normal((4000, DIM))), unit(random.standard_normal((20, DIM)))
    with ThreadPoolExecutor(1) as helpers:
        indexes = [TieredIndex(DIM, SMALL), TieredIndex(DIM, SMALL, helpers=helpers)]
        for index in indexes:
            for start in range(0, 4000, 500):
                index.add(np.arange(start, start + 500), np.arange(start, start + 500), vectors[start : start + 500])
                while index.compact():
                    pass
        assert indexes[1].segments >= WORTH_SHARING
        for plain, helped in zip(*(index.search(probes, 5) for index in indexes), strict=True):
            assert plain.rows.tolist() == helped.rows.tolist()
            assert plain.scores.tolist() == helped.scores.tolist()
        taken, done = threading.Event(), threading.Event()
        helpers.submit(lambda: (taken.set(), done.wait()))  # a helper that is busy delays nobody
        assert taken.wait(PATIENCE)
        assert indexes[1].search(probes[:1], 1)[0].rows.tolist() == indexes[0].search(probes[:1], 1)[0].rows.tolist()
        done.set()


def test_a_search_on_any_thread_uses_that_thread_alone() -> None:
    """In a process of its own: OpenMP reads its setting once, when faiss is loaded."""
    asked = (
        "import concurrent.futures as f, service.gallery.embedded, faiss;"
        "print(f.ThreadPoolExecutor(1).submit(faiss.omp_get_max_threads).result())"
    )
    environment = {name: value for name, value in os.environ.items() if name != "OMP_NUM_THREADS"}
    run = subprocess.run([sys.executable, "-c", asked], env=environment, capture_output=True, text=True, check=True)
    assert run.stdout.strip() == "1"
