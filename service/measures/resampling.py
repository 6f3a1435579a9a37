"""Error rates and the DET curve with intervals, by drawing people again and again (see `bootstrap`)."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from service.measures.all_pairs import AllPairs
from service.measures.bootstrap import CI95, draw_people
from service.measures.intervals import Estimate, wilson
from service.measures.thresholds import Scores, count_allowed

RULE_OF_3, RULE_OF_30 = 3, 30


@dataclass(frozen=True, slots=True)
class RatesAt:
    """Error rates at a threshold; None of a kind of which there is no comparison."""

    threshold: float
    fmr: Estimate | None
    fnmr: Estimate | None


@dataclass(frozen=True, slots=True)
class DetPoint:
    """FNMR at the threshold that an FMR leads to on these comparisons.

    `resolved`: thirty false matches or more stand behind it (the rule of 30).
    """

    fmr: float
    threshold: float
    fnmr: Estimate
    resolved: bool


@dataclass(frozen=True, slots=True)
class Resampled:
    """Comparisons of people 0..P-1, and how often those are drawn.

    Attributes:
        pairs: The comparisons.
        photographs: How many of each person, (P,).
        every: Whether each photograph was compared with each, so that comparisons need not be counted one by one.
        rounds: How often people are drawn.
        seed: Of the draws.
    """

    pairs: AllPairs
    photographs: NDArray[np.int64]
    every: bool = True
    rounds: int = 300
    seed: int = 0

    def draws(self) -> Iterator[NDArray[np.int64]]:
        """How often each person is drawn, round by round, (P,)."""
        return draw_people(len(self.photographs), self.rounds, self.seed)

    def impostor_trials(self, drawn: NDArray[np.int64]) -> float:
        """Count the impostor comparisons of a round."""
        if not self.every:
            return float((drawn[self.pairs.left] * drawn[self.pairs.right]).sum())
        weighted = drawn.astype(np.float64) * self.photographs
        return float((weighted.sum() ** 2 - (weighted**2).sum()) / 2)

    def among(self, pairs: AllPairs, photographs: NDArray[np.int64]) -> Resampled:
        """The same draws of the same people for a part of the comparisons."""
        return replace(self, pairs=pairs, photographs=photographs)


def resample_rates(data: Resampled, threshold: float) -> tuple[Scores, Scores]:
    """Compute FMR and FNMR at a threshold in every round, (rounds,) each; NaN where a round has no comparison."""
    pairs = data.pairs
    matched, missed = pairs.impostor >= threshold, pairs.genuine < threshold
    left, right, owner = pairs.left[matched], pairs.right[matched], pairs.owner[missed]
    mated = np.bincount(pairs.owner, minlength=len(data.photographs))
    rates = np.full((2, data.rounds), np.nan)
    for place, drawn in enumerate(data.draws()):
        impostors, genuine = data.impostor_trials(drawn), float((drawn * mated).sum())
        if impostors:
            rates[0, place] = float((drawn[left] * drawn[right]).sum()) / impostors
        if genuine:
            rates[1, place] = float(drawn[owner].sum()) / genuine
    return rates[0], rates[1]


def rates_at(data: Resampled, threshold: float) -> RatesAt:
    """Measure FMR and FNMR at a threshold, with 95 % intervals by person.

    They are at least as wide as those of independent comparisons; where nothing went wrong, up to 3 / N, the rule of 3.
    """
    matched, missed = data.pairs.impostor >= threshold, data.pairs.genuine < threshold
    fmr, fnmr = resample_rates(data, threshold)
    return RatesAt(
        threshold,
        _estimate(int(matched.sum()), len(matched), _interval(fmr)) if len(matched) else None,
        _estimate(int(missed.sum()), len(missed), _interval(fnmr)) if len(missed) else None,
    )


def det(data: Resampled, fmrs: Sequence[float]) -> tuple[DetPoint, ...]:
    """Compute the DET curve at false match rates; in every round the thresholds are chosen anew.

    Empty without rates, genuine or impostor comparisons.
    """
    pairs = data.pairs
    impostors = len(pairs.impostor)
    if not impostors or not len(pairs.genuine) or not fmrs:
        return ()
    kept = min(impostors, 2 * count_allowed(max(fmrs), impostors) + 1)
    highest = np.argpartition(-pairs.impostor, kept - 1)[:kept] if kept < impostors else np.arange(impostors)
    highest = highest[np.argsort(-pairs.impostor[highest], kind="stable")]
    scores, left, right = pairs.impostor[highest], pairs.left[highest], pairs.right[highest]
    order = np.argsort(pairs.genuine, kind="stable")
    genuine, owner = pairs.genuine[order], pairs.owner[order]
    rates = np.asarray(fmrs, np.float64)

    def strictest(weight: NDArray[np.int64], total: float) -> NDArray[np.int64]:
        """The place of the highest impostor score that may not match, for each rate."""
        cut = np.searchsorted(np.cumsum(weight), rates * total * (1 + 1e-12), side="right")
        return np.minimum(cut, kept - 1)

    def misses(cut: NDArray[np.int64], weight: NDArray[np.int64]) -> Scores:
        summed = np.concatenate([[0], np.cumsum(weight)])
        return np.asarray(summed[np.searchsorted(genuine, scores[cut], side="right")] / summed[-1], np.float64)

    values = [
        misses(strictest(drawn[left] * drawn[right], data.impostor_trials(drawn)), drawn[owner])
        for drawn in data.draws()
        if drawn[owner].any()
    ]
    cut = strictest(np.ones(kept, np.int64), impostors)
    fnmr = misses(cut, np.ones(len(genuine), np.int64))
    low, high = np.quantile(values, CI95, axis=0) if values else (fnmr, fnmr)
    return tuple(
        DetPoint(
            fmr,
            float(np.nextafter(scores[place], np.inf)),
            _estimate(round(value * len(genuine)), len(genuine), (float(a), float(b))),
            fmr * impostors >= RULE_OF_30 * (1 - 1e-9),
        )
        for fmr, place, value, a, b in zip(fmrs, cut, fnmr, low, high, strict=True)
    )


def _estimate(count: int, trials: int, drawn: tuple[float, float]) -> Estimate:
    """A rate with the interval that the draws gave, at least as wide as that of independent comparisons.

    Draws of few people may all be alike. Where nothing went wrong the rule of 3 says how high the rate may be.
    """
    if not count:
        return Estimate(0.0, (0.0, min(1.0, max(drawn[1], RULE_OF_3 / trials))), trials)
    low, high = wilson(count, trials)
    return Estimate(count / trials, (min(low, drawn[0]), max(high, drawn[1])), trials)


def _interval(rates: Scores) -> tuple[float, float]:
    known = rates[np.isfinite(rates)]
    low, high = np.quantile(known, CI95) if len(known) else (0.0, 1.0)
    return float(low), float(high)
