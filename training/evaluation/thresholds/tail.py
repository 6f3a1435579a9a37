"""The tail of the impostor scores: thresholds for rates that no calibration set can count.

A gallery of a million asks for one false match in a thousand million comparisons. By extreme value theory
(Pickands-Balkema-de Haan) what exceeds a high score follows a generalised Pareto distribution, whatever the scores
follow: it is fitted to the highest impostor scores and read beyond the last one that was counted. The interval is a
bootstrap over people, as for the counted thresholds: it widens as the tail goes on.

The highest thirty of those scores are known to the fit by their number alone: they are where one person under two names
is found, and no set is without. A cosine is bounded, so the shape is never positive.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import minimize
from scipy.stats import genpareto

from service.face.manifest import CalibratedThreshold, TailThreshold
from service.measures.thresholds import Scores, threshold_at

EXCEEDANCES = 1000  # highest impostor scores that the tail is fitted to
LEAST = 100
CENSORED = 30
STRICTEST = 1e-12
STEPS = 2  # rows a decade


@dataclass(frozen=True, slots=True)
class Tail:
    """A share `rate` of impostor scores exceeds `start`; the excess is generalised Pareto with `scale` and `shape`."""

    start: float
    rate: float
    scale: float
    shape: float

    def threshold(self, fmr: float) -> float:
        """The score that a share `fmr` exceeds, for `fmr` up to `rate`."""
        return self.start + float(genpareto.isf(min(1.0, fmr / self.rate), self.shape, scale=self.scale))

    def fmr(self, threshold: float) -> float:
        """The share that exceeds a score from `start` on."""
        return self.rate * float(genpareto.sf(threshold - self.start, self.shape, scale=self.scale))


def fit_tail(impostor: Scores, most: int = EXCEEDANCES) -> Tail:
    """Fit the highest `most` impostor scores, or a hundredth of them where there are few, by maximum likelihood."""
    count = max(LEAST, min(most, len(impostor) // 100))
    top = np.sort(np.partition(impostor, len(impostor) - count - 1)[-count - 1 :])
    return _fit(float(top[0]), top[1:] - top[0], np.ones(count), count / len(impostor))


def extend(
    impostor: Scores,
    left: NDArray[np.int32],
    right: NDArray[np.int32],
    people: int,
    last: CalibratedThreshold,
    *,
    rounds: int = 60,
    seed: int = 0,
) -> tuple[TailThreshold, ...]:
    """Rows below the last counted threshold, half a decade apart, down to 1e-12.

    `left` and `right` are the people of each impostor comparison, numbered below `people`. The fitted tail is moved so
    that it begins where the counting ends, or where its own scores do if that is later: of the ordinary scores it knows
    nothing. There are no rows where there are too few scores to fit.
    """
    if len(impostor) < 10 * LEAST:
        return ()
    tail = fit_tail(impostor)
    begins = last.threshold if last.fmr <= tail.rate else threshold_at(impostor, tail.rate)
    shift = begins - tail.threshold(last.fmr)
    steps = np.arange(1, int(np.floor(STEPS * np.log10(last.fmr / STRICTEST) + 1e-9)) + 1)
    fmrs = last.fmr * 10.0 ** (-steps / STEPS)
    fmrs = fmrs[fmrs <= tail.rate]
    thresholds = np.minimum(1.0, np.maximum.accumulate([tail.threshold(fmr) + shift for fmr in fmrs]))
    above = np.flatnonzero(impostor > tail.start)
    above = above[np.argsort(impostor[above])]
    excess, a, b = impostor[above] - tail.start, left[above], right[above]
    rng = np.random.default_rng(seed)
    rates = []
    for _ in range(rounds):
        drawn = np.bincount(rng.integers(0, people, people), minlength=people)
        often = drawn[a] * drawn[b]
        if often.sum() < LEAST // 2:
            continue
        drawn_tail = _fit(tail.start, excess, often.astype(np.float64), tail.rate * often.sum() / len(above))
        rates.append([drawn_tail.fmr(threshold - shift) for threshold in thresholds])
    low, high = np.quantile(rates, [0.025, 0.975], axis=0)
    return tuple(
        TailThreshold(fmr=float(fmr), threshold=float(threshold), ci95=(float(least), float(max(most, fmr))))
        for fmr, threshold, least, most in zip(fmrs, thresholds, low, high, strict=True)
    )


def _fit(start: float, excess: Scores, often: Scores, rate: float) -> Tail:
    """Fit excesses, rising, that count so often each; the last thirty by likelihood of being at least so high."""
    above = np.cumsum(often[::-1])[::-1]
    seen = above > CENSORED
    seen[: max(1, len(seen) // 2)] = True
    limit, hidden = excess[seen][-1], float(often[~seen].sum())

    def loss(parameters: NDArray[np.float64]) -> float:
        scale, shape = np.exp(parameters[0]), parameters[1]
        likelihood = float((often[seen] * genpareto.logpdf(excess[seen], shape, scale=scale)).sum())
        return -likelihood - (hidden * float(genpareto.logsf(limit, shape, scale=scale)) if hidden else 0.0)

    mean = float(np.average(excess[seen], weights=np.maximum(often[seen], 1e-9)))
    with np.errstate(all="ignore"):  # a step outside the support has no likelihood
        optimum = minimize(loss, [np.log(mean), -0.1], method="Nelder-Mead", bounds=[(None, None), (-0.9, 0.0)])
    return Tail(start, rate, float(np.exp(optimum.x[0])), float(optimum.x[1]))
