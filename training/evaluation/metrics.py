"""Error rates of comparison scores, with intervals (ISO/IEC 19795-1).

A comparison matches when its score is at or above the threshold. FMR is the share of impostor comparisons that match,
FNMR the share of genuine ones that do not, TAR is 1 - FNMR.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from service.face.score import wilson

Scores = NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class Estimate:
    """A measured number, its 95 % interval where one is known, and the trials behind it."""

    value: float
    ci95: tuple[float, float] | None
    trials: int


@dataclass(frozen=True, slots=True)
class Curve:
    """Error rates over all thresholds, rising: `fmr` falls from 1 to 0 and `fnmr` rises from 0 to 1."""

    thresholds: Scores
    fmr: Scores
    fnmr: Scores


def curve(genuine: Scores, impostor: Scores) -> Curve:
    """FMR and FNMR at every distinct score, and at infinity."""
    genuine, impostor = np.sort(genuine), np.sort(impostor)
    thresholds = np.append(np.unique(np.concatenate([genuine, impostor])), np.inf)
    fmr = 1 - np.searchsorted(impostor, thresholds, side="left") / len(impostor)
    fnmr = np.searchsorted(genuine, thresholds, side="left") / len(genuine)
    return Curve(thresholds, fmr, fnmr)


def area(genuine: Scores, impostor: Scores) -> float:
    """Area under the ROC: the chance that a genuine score is above an impostor score, ties counting half."""
    impostor = np.sort(impostor)
    below = np.searchsorted(impostor, genuine, side="left")
    not_above = np.searchsorted(impostor, genuine, side="right")
    return float((below + not_above).mean() / (2 * len(impostor)))


def equal_error(genuine: Scores, impostor: Scores) -> float:
    """The rate at which FMR and FNMR meet: their mean where they are closest."""
    errors = curve(genuine, impostor)
    gap = np.abs(errors.fmr - errors.fnmr)
    best = np.flatnonzero(gap == gap.min())
    return float(((errors.fmr + errors.fnmr) / 2)[best].mean())


def threshold_at(impostor: Scores, fmr: float) -> float:
    """The lowest threshold whose FMR on these impostor scores is at most `fmr`.

    It is just above the (k+1)-th highest impostor score, k = floor(fmr * n); minus infinity where all may match.
    """
    allowed = int(np.floor(fmr * len(impostor) + 1e-9))
    if allowed >= len(impostor):
        return -np.inf
    ordered = np.sort(impostor)[::-1]
    return float(np.nextafter(ordered[allowed], np.inf))


def tar_at(genuine: Scores, impostor: Scores, fmr: float) -> Estimate:
    """TAR at an FMR, with the Wilson interval of the genuine trials."""
    hits = int((genuine >= threshold_at(impostor, fmr)).sum())
    return Estimate(hits / len(genuine), wilson(hits, len(genuine)), len(genuine))


def best_threshold(scores: Scores, same: NDArray[np.bool_]) -> float:
    """The threshold with the highest accuracy; the middle one of the gap, and the lowest of equals."""
    order = np.argsort(scores, kind="stable")
    ordered, truth = scores[order], same[order]
    # with the cut before position i, everything from i on is called genuine
    correct = np.concatenate([[0], np.cumsum(~truth)]) + np.concatenate([np.cumsum(truth[::-1])[::-1], [0]])
    edges = np.concatenate([[ordered[0] - 1e-6], (ordered[1:] + ordered[:-1]) / 2, [ordered[-1] + 1e-6]])
    splits = np.concatenate([[True], ordered[1:] != ordered[:-1], [True]])  # equal scores cannot be told apart
    return float(edges[np.argmax(np.where(splits, correct, -1))])


def accuracy(scores: Scores, same: NDArray[np.bool_], threshold: float) -> Estimate:
    """Share of pairs decided rightly, with its Wilson interval."""
    right = int(((scores >= threshold) == same).sum())
    return Estimate(right / len(scores), wilson(right, len(scores)), len(scores))


@dataclass(frozen=True, slots=True)
class Folded:
    """Cross-validated accuracy: mean and standard deviation over folds, and each fold's threshold and accuracy."""

    mean: float
    deviation: float
    accuracies: tuple[float, ...]
    thresholds: tuple[float, ...]


def accuracy_folded(scores: Scores, same: NDArray[np.bool_], folds: NDArray[np.int64]) -> Folded:
    """The protocol of LFW View 2: the threshold is chosen on all other folds, the accuracy measured on each."""
    accuracies, thresholds = [], []
    for fold in np.unique(folds):
        here = folds == fold
        threshold = best_threshold(scores[~here], same[~here])
        thresholds.append(threshold)
        accuracies.append(float(((scores[here] >= threshold) == same[here]).mean()))
    return Folded(float(np.mean(accuracies)), float(np.std(accuracies, ddof=1)), tuple(accuracies), tuple(thresholds))


def bootstrap_tar(
    scores: Scores,
    same: NDArray[np.bool_],
    people: Sequence[tuple[str, str]],
    fmr: float,
    *,
    rounds: int = 500,
    seed: int = 0,
) -> Estimate:
    """TAR at an FMR with a bootstrap over identities, which honours that pairs share people.

    People are drawn with replacement; a pair counts as often as both of its people were drawn (a genuine pair: its one
    person). The threshold is chosen anew in every round.
    """
    names = {name: i for i, name in enumerate(sorted({name for pair in people for name in pair}))}
    left = np.array([names[a] for a, _ in people])
    right = np.array([names[b] for _, b in people])
    rng = np.random.default_rng(seed)
    order = np.argsort(-scores, kind="stable")
    values = []
    for _ in range(rounds):
        drawn = np.bincount(rng.integers(0, len(names), len(names)), minlength=len(names))
        weight = np.where(same, drawn[left], drawn[left] * drawn[right])[order].astype(np.float64)
        genuine, impostor = weight * same[order], weight * ~same[order]
        if genuine.sum() == 0 or impostor.sum() == 0:
            continue
        allowed = np.cumsum(impostor) <= fmr * impostor.sum() + 1e-9
        values.append(float(genuine[allowed].sum() / genuine.sum()))
    value = tar_at(scores[same], scores[~same], fmr).value
    low, high = np.quantile(values, [0.025, 0.975])
    return Estimate(value, (float(low), float(high)), int(same.sum()))
