"""Synthetic people for gallery tests: clustered unit vectors, and an exact search in plain NumPy."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

Matrix = NDArray[np.float32]


def unit(values: NDArray[np.floating]) -> Matrix:
    """Rows scaled to length 1."""
    return np.asarray(values / np.linalg.norm(values, axis=-1, keepdims=True), np.float32)


def people(count: int, faces: int, dim: int, seed: int = 0) -> Matrix:
    """(count*faces, D): `faces` vectors in a row per person, of cosine about 0.6, rounded as the record rounds."""
    random = np.random.default_rng(seed)
    centres = np.repeat(unit(random.standard_normal((count, dim))), faces, axis=0)
    noise = unit(random.standard_normal((count * faces, dim)))
    return unit(np.sqrt(0.6) * centres + np.sqrt(0.4) * noise).astype(np.float16).astype(np.float32)


def hard_probes(persons: NDArray[np.int64], count: int, dim: int, seed: int = 0) -> Matrix:
    """A probe of each of `persons` out of `people(count, ..., seed)`: cosine about 0.35 with the person's vectors."""
    centres = unit(np.random.default_rng(seed).standard_normal((count, dim)))[persons]
    noise = unit(np.random.default_rng(seed + 1).standard_normal((len(persons), dim)))
    along = 0.35 / np.sqrt(0.6)
    return unit(along * centres + np.sqrt(1 - along**2) * noise)


def exact(
    probe: Matrix, rows: NDArray[np.int64], groups: NDArray[np.int64], vectors: Matrix, k: int
) -> list[tuple[int, int, float]]:
    """The k best groups, each with its best row: (group, row, score), by a full sort."""
    scores = vectors.astype(np.float64) @ probe.astype(np.float64)
    best: dict[int, tuple[int, int, float]] = {}
    for at in np.lexsort((rows, -scores)):
        best.setdefault(int(groups[at]), (int(groups[at]), int(rows[at]), float(scores[at])))
        if len(best) == k:
            break
    return list(best.values())
