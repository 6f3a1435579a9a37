"""Measures searches by the scores that are served: cosines, shifted by what both templates score with a cohort.

The database, the index and the search are those of the service. The cohort is synthetic, as the people are: centres of
a few kinds, of which a template resembles some more than others, and offsets as large as the bundled models give.
"""

from __future__ import annotations

from collections.abc import Callable
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from service.bench.gallery.crowd import EASY, FACES, HARD, Crowd, person_of, unit
from service.bench.gallery.index import Flat
from service.bench.gallery.synthetic_gallery import DIGEST
from service.bench.gallery.timing import quantile, timed
from service.gallery.embedded import open_embedded
from service.gallery.gallery import Gallery
from service.index.base import Matrix, Rows
from service.index.scoring import Scoring

CENTRES, KINDS, ALIKE = 1000, 8, 0.9
NEAREST, STRENGTH, ORDINARY = 4, 1.35, 0.25
"""As in facet-s: centres that count, the strength, and the share of faces that keep their score."""
SEARCHES, AT_ONCE = 200, 50


@dataclass(frozen=True, slots=True)
class NormalisedRow:
    """One kind of search at one size. Milliseconds; recalls are of the true person at rank 1."""

    search: str
    templates: int
    single: float
    single_p99: float
    easy: float
    hard: float


class Cohort:
    """Synthetic strangers against whom synthetic people are measured."""

    def __init__(self, crowd: Crowd) -> None:
        """Draw the centres, and find what is ordinary on some of the crowd's templates."""
        random = np.random.default_rng(11)
        kinds = unit(random.standard_normal((KINDS, crowd.dim), np.float32))
        noise = unit(random.standard_normal((CENTRES, crowd.dim), np.float32))
        of = random.integers(0, KINDS, CENTRES)
        self._centres = np.ascontiguousarray(unit(np.sqrt(ALIKE) * kinds[of] + np.sqrt(1 - ALIKE) * noise).T)
        self._ordinary = float(np.quantile(self._likeness(next(crowd.chunks())[2]), ORDINARY))

    def offsets(self, vectors: Matrix) -> NDArray[np.float32]:
        """What is added to the scores of unit vectors (N, D): (N,)."""
        beyond = np.maximum(self._likeness(vectors) - self._ordinary, 0)
        return np.asarray(-STRENGTH / 2 * beyond, np.float32)

    def _likeness(self, vectors: Matrix) -> Matrix:
        scores = vectors @ self._centres
        return np.asarray(np.partition(scores, CENTRES - NEAREST, axis=1)[:, -NEAREST:].mean(axis=1), np.float32)


def measure_normalised(directory: Path, count: int, dim: int, *, probes: int = 2000) -> list[NormalisedRow]:
    """Measure searches of the gallery that `fill` wrote to `directory`, by turns with exact ones.

    Args:
        directory: The gallery's; its collection is `bench`.
        count: Templates in it.
        dim: Their dimensions.
        probes: Of each difficulty.
    """
    crowd = Crowd(count // FACES, dim)
    cohort = Cohort(crowd)
    exact = Flat(dim + 1)
    for _, persons, matrix in crowd.chunks():
        exact.add(persons, np.column_stack([matrix, cohort.offsets(matrix)]))
    with closing(open_embedded(directory)) as gallery:

        def flat(asked: Matrix) -> Rows:
            return exact.best(np.column_stack([asked, np.ones(len(asked), np.float32)]))

        searches: dict[str, Callable[[Matrix], Rows]] = {
            "exact float32, normalised": flat,
            "embedded, cosine": lambda asked: _people(gallery, asked, None),
            "embedded, normalised": lambda asked: _people(gallery, asked, cohort),
        }
        drawn = {hardness: crowd.probes(probes, hardness) for hardness in (EASY, HARD)}
        recalls: dict[str, list[float]] = {}
        for name, search in searches.items():
            for persons, asked in drawn.values():
                parts = [search(asked[at : at + AT_ONCE]) for at in range(0, probes, AT_ONCE)]
                recalls.setdefault(name, []).append(float(np.mean(np.concatenate(parts) == persons)))
        times: dict[str, list[float]] = {name: [] for name in searches}
        asked = drawn[HARD][1]
        for at in range(min(SEARCHES, probes)):
            for name, search in searches.items():
                timed(times[name], search, asked[at : at + 1])
    return [
        NormalisedRow(
            name,
            crowd.people * FACES,
            quantile(times[name], 0.5),
            quantile(times[name], 0.99),
            easy,
            hard,
        )
        for name, (easy, hard) in recalls.items()
    ]


def _people(gallery: Gallery, probes: Matrix, cohort: Cohort | None) -> Rows:
    """The person that the gallery finds first for each probe; -1 where it finds nobody."""
    scoring = None if cohort is None else Scoring(cohort.offsets(probes), cohort.offsets)
    results = gallery.search("bench", DIGEST, probes, 1, scoring)
    return np.array([person_of(hits[0].subject) if hits else -1 for hits in results])
