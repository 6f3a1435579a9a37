"""Intervals by drawing people with replacement (Bolle et al. 2004): comparisons that share people are not independent.

A comparison counts as often as both of its people were drawn, a genuine one as often as its one person was.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np
from numpy.typing import NDArray

from service.measures.intervals import Estimate
from service.measures.thresholds import Scores, tar_at

CI95 = (0.025, 0.975)
People = NDArray[np.int32] | NDArray[np.int64]


def draw_people(people: int, rounds: int, seed: int = 0) -> Iterator[NDArray[np.int64]]:
    """Draw so many people with replacement, again and again: how often each was drawn, (people,)."""
    rng = np.random.default_rng(seed)
    for _ in range(rounds):
        yield np.bincount(rng.integers(0, people, people), minlength=people)


def bootstrap_tar(
    scores: Scores,
    genuine: NDArray[np.bool_],
    people: Sequence[tuple[str, str]],
    fmr: float,
    *,
    rounds: int = 500,
    seed: int = 0,
) -> Estimate:
    """Measure TAR at an FMR over listed pairs; the threshold is chosen anew in every round.

    Args:
        scores: Scores of the pairs, (N,).
        genuine: Which of them are of one person, (N,).
        people: The two people of each pair.
        fmr: The false match rate.
        rounds: How often people are drawn.
        seed: Of the draws.
    """
    names = {name: i for i, name in enumerate(sorted({name for pair in people for name in pair}))}
    left = np.array([names[a] for a, _ in people])
    right = np.array([names[b] for _, b in people])
    order = np.argsort(-scores, kind="stable")
    ranked = scores[order]
    # equal scores are accepted together: the cut is after the last of them
    last = np.append(ranked[1:] != ranked[:-1], True)
    values = []
    for drawn in draw_people(len(names), rounds, seed):
        weight = np.where(genuine, drawn[left], drawn[left] * drawn[right])[order].astype(np.float64)
        mated, other = weight * genuine[order], weight * ~genuine[order]
        if mated.sum() == 0 or other.sum() == 0:
            continue
        allowed = (np.cumsum(other) <= fmr * other.sum() * (1 + 1e-12)) & last
        accepted = np.cumsum(mated)[allowed]
        values.append(float(accepted[-1] / mated.sum()) if len(accepted) else 0.0)
    value = tar_at(scores[genuine], scores[~genuine], fmr).value
    low, high = np.quantile(values, CI95)
    return Estimate(value, (float(low), float(high)), int(genuine.sum()))


def bootstrap_fmr(
    left: People, right: People, crops: NDArray[np.int64], *, ways: int = 1, rounds: int = 300, seed: int = 0
) -> tuple[float, float]:
    """Compute the 95 % interval of the FMR at a fixed threshold, of comparisons of each with each.

    Args:
        left: The one person of each false match.
        right: The other.
        crops: How many crops each person has, (P,).
        ways: 2 where either of two crops is the probe once, else 1.
        rounds: How often people are drawn.
        seed: Of the draws.
    """
    rates = []
    for drawn in draw_people(len(crops), rounds, seed):
        weighted = drawn.astype(np.float64) * crops
        trials = ways * (weighted.sum() ** 2 - (weighted**2).sum()) / 2
        if trials > 0:
            rates.append(float((drawn[left] * drawn[right]).sum() / trials))
    low, high = np.quantile(rates, CI95)
    return float(low), float(high)
