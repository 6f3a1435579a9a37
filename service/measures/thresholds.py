"""Thresholds chosen from scores, and what decisions at a threshold are worth.

A comparison matches when its score is at or above the threshold. Equal scores are decided alike: no threshold is put
between them.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from service.measures.intervals import Estimate

Scores = NDArray[np.float64]
AnyScores = NDArray[np.float32] | NDArray[np.float64]
FOLDS = 10


def count_allowed(fmr: float, trials: float) -> int:
    """Count the false matches that an FMR allows in so many impostor comparisons."""
    return int(np.floor(fmr * trials * (1 + 1e-12)))  # 0.29 * 100 is a hair below 29


def threshold_at(impostor: AnyScores, fmr: float) -> float:
    """Find the lowest threshold whose FMR on these impostor scores is at most `fmr`.

    It is the next number above the (k+1)-th highest impostor score, k = floor(fmr * n), in the precision of the
    scores; minus infinity where all may match.
    """
    allowed = count_allowed(fmr, len(impostor))
    if allowed >= len(impostor):
        return -np.inf
    place = len(impostor) - 1 - allowed
    strictest = np.partition(impostor, place)[place]
    return float(np.nextafter(strictest, impostor.dtype.type(np.inf)))


def false_match_rate(impostor: AnyScores, threshold: float) -> Estimate:
    """Measure the share of impostor comparisons that match (FMR), with its Wilson interval."""
    return Estimate.of_share(int((impostor >= threshold).sum()), len(impostor))


def false_non_match_rate(genuine: AnyScores, threshold: float) -> Estimate:
    """Measure the share of genuine comparisons that do not match (FNMR), with its Wilson interval."""
    return Estimate.of_share(int((genuine < threshold).sum()), len(genuine))


def tar_at(genuine: AnyScores, impostor: AnyScores, fmr: float) -> Estimate:
    """Measure TAR (1 - FNMR) at an FMR, with the Wilson interval of the genuine trials."""
    return Estimate.of_share(int((genuine >= threshold_at(impostor, fmr)).sum()), len(genuine))


def best_threshold(scores: AnyScores, genuine: NDArray[np.bool_]) -> float:
    """Find the threshold with the most right decisions: the middle of its gap, and the lowest of equally good ones."""
    order = np.argsort(scores, kind="stable")
    ranked, truth = scores[order].astype(np.float64), genuine[order]
    # with the cut below the i-th score, impostors under it and genuine scores from it on are decided rightly
    right = np.concatenate([[0], np.cumsum(~truth)]) + np.concatenate([np.cumsum(truth[::-1])[::-1], [0]])
    cuts = np.concatenate([[ranked[0] - 1e-6], (ranked[1:] + ranked[:-1]) / 2, [ranked[-1] + 1e-6]])
    between_distinct = np.concatenate([[True], ranked[1:] != ranked[:-1], [True]])
    return float(cuts[np.argmax(np.where(between_distinct, right, -1))])


def accuracy(scores: AnyScores, genuine: NDArray[np.bool_], threshold: float) -> Estimate:
    """Measure the share of pairs decided rightly, with its Wilson interval."""
    return Estimate.of_share(int(((scores >= threshold) == genuine).sum()), len(scores))


@dataclass(frozen=True, slots=True)
class FoldedDecisions:
    """Pairs decided at the threshold of the other folds.

    Attributes:
        matches: Decision on each pair, (N,).
        right: Whether it is right, (N,).
        thresholds: The threshold that each fold was decided at.
        accuracies: Share of right decisions in each fold.
    """

    matches: NDArray[np.bool_]
    right: NDArray[np.bool_]
    thresholds: tuple[float, ...]
    accuracies: tuple[float, ...]

    @property
    def accuracy(self) -> Estimate:
        """Share of right decisions over all pairs: with folds of one size, the mean of theirs."""
        return Estimate.of_share(int(self.right.sum()), len(self.right))

    @property
    def deviation(self) -> float:
        """Standard deviation of the folds' accuracies; NaN for a single fold."""
        return float(np.std(self.accuracies, ddof=1)) if len(self.accuracies) > 1 else float("nan")


def assign_folds(genuine: NDArray[np.bool_]) -> NDArray[np.int64]:
    """Divide pairs that come without folds: the i-th genuine and the i-th impostor pair go to fold i mod 10."""
    folds = np.empty(len(genuine), dtype=np.int64)
    for kind in (genuine, ~genuine):
        folds[kind] = np.arange(np.count_nonzero(kind)) % FOLDS
    return folds


def decide_by_folds(scores: AnyScores, genuine: NDArray[np.bool_], folds: NDArray[np.int64]) -> FoldedDecisions:
    """Decide each pair at the threshold that is most accurate on all other folds (LFW View 2, Huang et al. 2007).

    Where there is one fold only, nothing says where to decide, and nothing matches.
    """
    matches = np.zeros(len(scores), dtype=np.bool_)
    thresholds, accuracies = [], []
    for fold in np.unique(folds):
        own = folds == fold
        threshold = best_threshold(scores[~own], genuine[~own]) if not own.all() else np.inf
        matches[own] = scores[own] >= threshold
        thresholds.append(threshold)
        accuracies.append(float((matches[own] == genuine[own]).mean()))
    return FoldedDecisions(matches, matches == genuine, tuple(thresholds), tuple(accuracies))
