"""The comparisons at the wrong ends: strangers who look most alike, one person's photographs that look least alike."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from service.measures.all_pairs import BLOCK, Vectors


class Comparison(NamedTuple):
    """One comparison: the photographs' places, and its score."""

    first: int
    second: int
    score: float


def find_extremes(
    probes: Vectors, references: Vectors, person: NDArray[np.int64], count: int
) -> tuple[tuple[Comparison, ...], tuple[Comparison, ...]]:
    """Find the `count` highest impostor and the `count` lowest genuine comparisons of each photograph with each.

    Args:
        probes: (N, D), whose inner product with `references` is the score.
        references: (N, D).
        person: Of each photograph, (N,).
        count: How many of each.
    """
    impostors: list[Comparison] = []
    genuine: list[Comparison] = []
    for start in range(0, len(probes), BLOCK):
        block = probes[start : start + BLOCK] @ references[start:].T
        rows, columns = np.triu_indices(len(block), 1, block.shape[1])
        scores, first, second = block[rows, columns], start + rows, start + columns
        same = person[first] == person[second]
        impostors = _keep(impostors, -scores[~same], first[~same], second[~same], count)
        genuine = _keep(genuine, scores[same], first[same], second[same], count)
    turned = tuple(each._replace(score=-each.score) for each in impostors)
    return turned, tuple(genuine)


def _keep(
    kept: list[Comparison], scores: Vectors, first: NDArray[np.int64], second: NDArray[np.int64], count: int
) -> list[Comparison]:
    """The `count` lowest of those kept and those that come, the lowest first."""
    lowest = np.argpartition(scores, count)[:count] if len(scores) > count else np.arange(len(scores))
    more = [Comparison(int(first[at]), int(second[at]), float(scores[at])) for at in lowest]
    return sorted([*kept, *more], key=lambda each: (each.score, each.first, each.second))[:count]
