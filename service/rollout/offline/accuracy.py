"""How well scores tell people apart: accuracy of chosen thresholds, and true matches at false match rates."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from service.face.manifest import MINIMUM_FALSE_MATCHES
from service.rollout.report import Share

FOLDS = 10


def decide_by_folds(scores: NDArray[np.float32], genuine: NDArray[np.bool_]) -> NDArray[np.bool_]:
    """Decide each pair at the threshold that is most accurate on the other nine tenths (LFW's protocol, Huang et al.
    2007). The i-th genuine and the i-th impostor pair go to tenth i mod 10.

    Returns bool (N,): matches.
    """
    folds = np.empty(len(scores), dtype=np.int64)
    for kind in (genuine, ~genuine):
        folds[kind] = np.arange(np.count_nonzero(kind)) % FOLDS
    decided = np.zeros(len(scores), dtype=np.bool_)
    for fold in range(FOLDS):
        others = folds != fold
        if others.any():
            decided[~others] = scores[~others] >= best_threshold(scores[others], genuine[others])
    return decided


def best_threshold(scores: NDArray[np.float32], genuine: NDArray[np.bool_]) -> float:
    """The threshold with the most right decisions; the middle one where several are equal."""
    order = np.argsort(scores)
    ranked, truth = scores[order].astype(np.float64), genuine[order]
    # Right decisions with the threshold below the i-th score: impostors under it, genuine ones from it on.
    right = np.concatenate([[0], np.cumsum(~truth)]) + np.concatenate([np.cumsum(truth[::-1])[::-1], [0]])
    edges = np.concatenate([[-1.0], ranked, [1.0]])
    middles = (edges[1:] + edges[:-1]) / 2
    best = np.flatnonzero(right == right.max())
    return float(middles[best[len(best) // 2]])


def true_match_rate(
    genuine: NDArray[np.float32], impostor: NDArray[np.float32], fmr: float
) -> tuple[Share, float] | None:
    """The share of genuine scores from the threshold on that at most `fmr` of the impostor scores reach, and that
    threshold; None where the impostors are too few to support the rate.
    """
    allowed = int(fmr * len(impostor) * (1 + 1e-9))
    if fmr * len(impostor) < MINIMUM_FALSE_MATCHES * (1 - 1e-9) or not len(genuine):
        return None
    strictest = np.partition(impostor, len(impostor) - allowed - 1)[len(impostor) - allowed - 1]
    threshold = float(np.nextafter(strictest, np.float32(2)))
    return Share(int(np.count_nonzero(genuine >= threshold)), len(genuine)), threshold
