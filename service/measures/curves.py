"""Error rates over all thresholds: the ROC and DET curve, the area under it, the equal error rate."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from service.measures.thresholds import Scores


@dataclass(frozen=True, slots=True)
class Curve:
    """Error rates over rising thresholds: `fmr` falls from 1 to 0 and `fnmr` rises from 0 to 1."""

    thresholds: Scores
    fmr: Scores
    fnmr: Scores


def curve(genuine: Scores, impostor: Scores) -> Curve:
    """Compute FMR and FNMR at every distinct score, and at infinity."""
    genuine, impostor = np.sort(genuine), np.sort(impostor)
    thresholds = np.append(np.unique(np.concatenate([genuine, impostor])), np.inf)
    fmr = 1 - np.searchsorted(impostor, thresholds, side="left") / len(impostor)
    fnmr = np.searchsorted(genuine, thresholds, side="left") / len(genuine)
    return Curve(thresholds, fmr, fnmr)


def area(genuine: Scores, impostor: Scores) -> float:
    """Compute the area under the ROC: the chance that a genuine score is above an impostor score, ties half."""
    impostor = np.sort(impostor)
    below = np.searchsorted(impostor, genuine, side="left")
    not_above = np.searchsorted(impostor, genuine, side="right")
    return float((below + not_above).mean() / (2 * len(impostor)))


def equal_error(genuine: Scores, impostor: Scores) -> float:
    """Compute the rate at which FMR and FNMR meet (EER): their mean where they are closest."""
    errors = curve(genuine, impostor)
    gap = np.abs(errors.fmr - errors.fnmr)
    best = np.flatnonzero(gap == gap.min())
    return float(((errors.fmr + errors.fnmr) / 2)[best].mean())
