"""Synthetic people: random directions, and nothing that depends on a model or a photograph.

A person's templates have cosine about 0.6 with each other, an easy probe about 0.6 with them, a hard one about 0.35.
"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
from numpy.typing import NDArray

from service.index.base import Matrix, Rows

FACES = 5
CHUNK = 10_000
EASY, HARD = 0.6, 0.35


class Crowd:
    """Synthetic people, made again from their seed whenever they are needed, so that they take no memory."""

    def __init__(self, people: int, dim: int, seed: int = 7) -> None:
        """Stand for so many people, with templates of `dim` dimensions."""
        self.people, self.dim, self._seed = people, dim, seed

    def centres(self, persons: NDArray[np.int64]) -> Matrix:
        """Return the directions of some persons."""
        centres = np.empty((len(persons), self.dim), np.float32)
        for chunk in np.unique(persons // (CHUNK // FACES)):
            here = persons // (CHUNK // FACES) == chunk
            centres[here] = self._chunk_centres(int(chunk))[persons[here] % (CHUNK // FACES)]
        return centres

    def chunks(self) -> Iterator[tuple[Rows, Rows, Matrix]]:
        """Return all templates: rows from 1 on, persons, and vectors rounded as the database rounds them."""
        for chunk in range(-(-self.people * FACES // CHUNK)):
            centres = np.repeat(self._chunk_centres(chunk), FACES, axis=0)
            noise = unit(np.random.default_rng((self._seed, chunk, 1)).standard_normal(centres.shape, np.float32))
            matrix = unit(np.sqrt(0.6) * centres + np.sqrt(0.4) * noise)
            rows = np.arange(chunk * CHUNK, min((chunk + 1) * CHUNK, self.people * FACES))
            yield rows + 1, rows // FACES, matrix[: len(rows)].astype(np.float16).astype(np.float32)

    def probes(self, count: int, cosine: float) -> tuple[NDArray[np.int64], Matrix]:
        """Return probes of random persons with about this cosine with their templates."""
        random = np.random.default_rng((self._seed, count, int(100 * cosine)))
        persons = random.integers(0, self.people, count)
        noise = unit(random.standard_normal((count, self.dim), np.float32))
        along = cosine / np.sqrt(0.6)
        return persons, unit(along * self.centres(persons) + np.sqrt(1 - along**2) * noise)

    def _chunk_centres(self, chunk: int) -> Matrix:
        random = np.random.default_rng((self._seed, chunk, 0))
        return unit(random.standard_normal((CHUNK // FACES, self.dim), np.float32))


def unit(values: Matrix) -> Matrix:
    """Scale the rows of (N, D) to unit length."""
    return np.asarray(values / np.linalg.norm(values, axis=1, keepdims=True), np.float32)


def person_of(subject: str) -> int:
    """Whose subject that is: the number behind `person-`."""
    return int(subject.removeprefix("person-"))
