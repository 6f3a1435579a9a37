"""Measures the embedded index beside exact search: recall, latency, memory."""

from __future__ import annotations

from contextlib import nullcontext
from dataclasses import dataclass
from pathlib import Path

import faiss
import numpy as np
from numpy.typing import NDArray

from service.bench.gallery.crowd import EASY, FACES, HARD, Crowd
from service.bench.gallery.timing import quantile, timed
from service.index.base import Matrix, Rows
from service.index.embedded.index import idle_cores, prefer_matrix_products
from service.index.embedded.tiered import TieredIndex, Tiers


@dataclass(frozen=True, slots=True)
class IndexRow:
    """One index at one size. Times in milliseconds; recalls are of the true person at rank 1; memory in MiB."""

    index: str
    templates: int
    single: float
    single_p99: float
    batch64: float
    easy: float
    hard: float
    memory: float
    build_seconds: float
    add: float
    remove: float


def measure_index(count: int, dim: int, *, probes: int = 2000, tiers: Tiers | None = None) -> list[IndexRow]:
    """Measure the embedded index beside exact float32 flat search, in one run.

    faiss searches flat for one probe on one thread; the embedded index has the helpers that the gallery gives it.
    """
    prefer_matrix_products(1)
    crowd = Crowd(count // FACES, dim)
    easy, hard = crowd.probes(probes, EASY), crowd.probes(probes, HARD)
    before = _resident()
    parts: list[float] = []  # people are made in between, which is no part of building
    with idle_cores() or nullcontext() as helpers:
        tiered = TieredIndex(dim, tiers, helpers=helpers)
        for rows, groups, matrix in crowd.chunks():
            timed(parts, tiered.add, rows, groups, matrix)
            timed(parts, _settle, tiered, (tiers or Tiers()).segment)
        timed(parts, _settle, tiered)
        ours = _row("embedded", tiered, crowd, (easy, hard), sum(parts) / 1000, _resident() - before)
        del tiered
    parts = []
    before = _resident()
    flat = Flat(dim)
    for _, groups, matrix in crowd.chunks():
        timed(parts, flat.add, groups, matrix)
    exact = _row("exact float32", flat, crowd, (easy, hard), sum(parts) / 1000, _resident() - before)
    return [exact, ours]


class Flat:
    """faiss' exact index, as the yardstick."""

    def __init__(self, dim: int) -> None:
        """Hold vectors of `dim` dimensions."""
        self.index = faiss.IndexFlatIP(dim)
        self.groups: list[Rows] = []

    def add(self, groups: Rows, matrix: Matrix) -> None:
        """Add vectors (N, D) of people (N,)."""
        self.index.add(matrix)
        self.groups.append(groups)

    def best(self, probes: Matrix) -> Rows:
        """Return the person nearest to each probe."""
        _, positions = self.index.search(probes, 1)
        return np.concatenate(self.groups)[positions[:, 0]]


def _settle(index: TieredIndex, fresh: int = -1) -> None:
    """Compact while there is something to do and more than `fresh` templates wait for it."""
    while index.fresh > fresh and index.compact():
        pass


def _row(
    name: str,
    index: TieredIndex | Flat,
    crowd: Crowd,
    probes: tuple[tuple[NDArray[np.int64], Matrix], tuple[NDArray[np.int64], Matrix]],
    build: float,
    memory: float,
) -> IndexRow:
    def best(matrix: Matrix) -> Rows:
        if isinstance(index, Flat):
            return index.best(matrix)
        return np.array([rows.groups[0] for rows in index.search(matrix, 1)])

    def look(matrix: Matrix) -> None:
        index.index.search(matrix, 1) if isinstance(index, Flat) else index.search(matrix, 1)

    (easy_persons, easy), (hard_persons, hard) = probes
    recalls = [
        float(np.mean(np.concatenate([best(vectors[at : at + 64]) for at in range(0, len(vectors), 64)]) == persons))
        for persons, vectors in ((easy_persons, easy), (hard_persons, hard))
    ]
    single: list[float] = []
    for at in range(min(200, len(hard))):
        timed(single, look, hard[at : at + 1])
    batch: list[float] = []
    for _ in range(5):
        timed(batch, look, hard[:64])
    add: list[float] = []
    remove: list[float] = []
    if isinstance(index, TieredIndex):
        last, fresh = crowd.people * FACES, crowd.probes(200, EASY)[1]
        for at in range(200):
            timed(add, index.add, np.array([last + 1 + at]), np.array([last + 1 + at]), fresh[at][None])
            timed(remove, index.remove, np.array([1 + 37 * at]))
    return IndexRow(
        name,
        crowd.people * FACES,
        quantile(single, 0.5),
        quantile(single, 0.99),
        quantile(batch, 0.5),
        recalls[0],
        recalls[1],
        memory,
        build,
        quantile(add, 0.5),
        quantile(remove, 0.5),
    )


def _resident() -> float:
    """Resident memory of this process in MiB."""
    pages = int(Path("/proc/self/statm").read_text(encoding="ascii").split()[1])
    return pages * 4096 / 2**20
