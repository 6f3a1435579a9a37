"""True matches at a false match rate, where the impostor comparisons are enough to support it."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from service.face.manifest import MINIMUM_FALSE_MATCHES
from service.measures.thresholds import AnyScores, threshold_at
from service.rollout.report import Share


def share_of(right: NDArray[np.bool_]) -> Share:
    """Count how many of (N,) are so."""
    return Share(int(np.count_nonzero(right)), len(right))


def true_match_rate(genuine: AnyScores, impostor: AnyScores, fmr: float) -> tuple[Share, float] | None:
    """Measure the share of genuine scores at or above the threshold that holds `fmr` on the impostor scores.

    Returns:
        The share and the threshold; None where the impostors are too few to support the rate (rule of 30).
    """
    if fmr * len(impostor) < MINIMUM_FALSE_MATCHES * (1 - 1e-9) or not len(genuine):
        return None
    threshold = threshold_at(impostor, fmr)
    return share_of(genuine >= threshold), threshold
