"""Measures what calls of the index wait for each other, and for a rebuild."""

from __future__ import annotations

import threading
import time
from concurrent.futures import ThreadPoolExecutor
from contextlib import nullcontext, suppress
from dataclasses import dataclass

import numpy as np

from service.bench.gallery.crowd import FACES, HARD, Crowd
from service.bench.gallery.timing import quantile, timed
from service.index.base import Matrix
from service.index.embedded.index import idle_cores
from service.index.embedded.segment import BuildStopped
from service.index.embedded.tiered import TieredIndex


@dataclass(frozen=True, slots=True)
class StallRow:
    """Latency of one kind of call, in milliseconds, while something else goes on."""

    call: str
    beside: str
    calls: int
    p50: float
    p99: float
    worst: float


def measure_stalls(count: int, dim: int, seconds: float = 10.0) -> list[StallRow]:
    """Measure searches, additions and removals side by side, first quietly, then with a rebuild always under way."""
    with idle_cores() or nullcontext() as helpers:
        return _stalls(TieredIndex(dim, helpers=helpers), Crowd(count // FACES, dim), seconds)


def _stalls(index: TieredIndex, crowd: Crowd, seconds: float) -> list[StallRow]:
    for rows, groups, matrix in crowd.chunks():
        index.add(rows, groups, matrix)
        while index.compact():
            pass
    _, probes = crowd.probes(500, HARD)
    result = []
    last = crowd.people * FACES
    for beside in ("nothing", "rebuilding"):
        done = threading.Event()
        times: dict[str, list[float]] = {"search": [], "add": [], "remove": []}
        with ThreadPoolExecutor(2) as pool:
            others = [pool.submit(_search_on, index, probes, times["search"], done)]
            if beside == "rebuilding":
                others.append(pool.submit(_rebuild_on, index, crowd.people * FACES, done))
            try:
                end = time.monotonic() + seconds
                while time.monotonic() < end:
                    last += 1
                    timed(times["add"], index.add, np.array([last]), np.array([last]), probes[last % 500][None])
                    timed(times["remove"], index.remove, np.array([last]))
                    time.sleep(0.002)
            finally:
                done.set()
            for other in others:
                other.result()
        result += [
            StallRow(call, beside, len(taken), quantile(taken, 0.5), quantile(taken, 0.99), quantile(taken, 1))
            for call, taken in times.items()
        ]
    return result


def _search_on(index: TieredIndex, probes: Matrix, taken: list[float], done: threading.Event) -> None:
    while not done.is_set():
        timed(taken, index.search, probes[len(taken) % 500][None], 5)


def _rebuild_on(index: TieredIndex, count: int, done: threading.Event) -> None:
    random = np.random.default_rng(1)
    while not done.is_set():
        index.remove(random.integers(1, count, 3))
        with suppress(BuildStopped):
            index.compact(done.is_set, thorough=True)
