"""How much of a face's likeness to strangers is taken off its scores: as little as keeps every kind's rate.

The more is taken off, the fewer strangers of a kind match, and the more genuine pairs of that kind are lost. So the
strength is the least at which no kind of faces that the cohort did not see matches more than a given number of times
the rate asked, at the threshold of ordinary faces that the cohort did not see either.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

STEPS = tuple(step / 20 for step in range(10, 41))


@dataclass(frozen=True, slots=True)
class Held:
    """Faces of one kind outside the cohort: unit vectors (N, D), whose they are, and each one's a(x) - ordinary (N,).

    What is below zero of the last counts as zero.
    """

    vectors: NDArray[np.float32]
    people: tuple[str, ...]
    beyond: NDArray[np.float32]


@dataclass(frozen=True, slots=True)
class Strength:
    """The strength chosen, and at which multiple of the rate asked each kind matches with it."""

    value: float
    kinds: Mapping[str, float]

    @property
    def worst(self) -> float:
        """The multiple of the worst kind."""
        return max(self.kinds.values(), default=0.0)


def choose_strength(ordinary: Mapping[str, Held], kinds: Mapping[str, Held], fmr: float, kept: float) -> Strength:
    """Choose the least strength that keeps every kind within `kept` times `fmr`; the best there is where none does.

    Args:
        ordinary: Faces whose strangers give the threshold.
        kinds: Faces that are to keep the rate at it.
        fmr: The rate asked.
        kept: How many times that rate a kind may match.
    """
    usual = [_Impostors.of(held) for held in ordinary.values()]
    others = {name: _Impostors.of(held) for name, held in kinds.items()}
    rows = []
    for value in STEPS:
        threshold = np.quantile(np.concatenate([each.scores(value) for each in usual]), 1 - fmr)
        rates = {name: float((each.scores(value) >= threshold).mean() / fmr) for name, each in others.items()}
        rows.append(Strength(value, rates))
        if rows[-1].worst <= kept:
            return rows[-1]
    return min(rows, key=lambda each: each.worst)


@dataclass(frozen=True, slots=True)
class _Impostors:
    """Cosines of strangers of one kind, and what each pair has beyond the ordinary."""

    cosines: NDArray[np.float32]
    excess: NDArray[np.float32]

    @classmethod
    def of(cls, held: Held) -> _Impostors:
        left, right = np.triu_indices(len(held.vectors), 1)
        person = np.unique(held.people, return_inverse=True)[1]
        other = person[left] != person[right]
        left, right = left[other], right[other]
        beyond = np.maximum(held.beyond, 0)
        return cls((held.vectors @ held.vectors.T)[left, right], beyond[left] + beyond[right])

    def scores(self, strength: float) -> NDArray[np.float32]:
        return np.asarray(self.cosines - np.float32(strength / 2) * self.excess, np.float32)
