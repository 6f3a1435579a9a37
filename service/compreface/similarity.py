"""CompreFace's `similarity` as a map of the comparison score: it says how rare such a score is among strangers.

A client decides by comparing `similarity` with a constant of its own, 0.85 to 0.95 as a rule. So each of these
constants has to mean a false match rate, for every model. The map goes over that rate: the score's false match rate by
the model's calibration, then the straight lines between `ANCHORS` over its logarithm. In a search it is the rate at
which a stranger matches anybody among so many people, so that the same constant means the same when people are added.
"""

from __future__ import annotations

import math

import numpy as np

from service.face.cross_model import Thresholds

ANCHORS = ((1.0, 0.0), (1e-1, 0.2), (1e-2, 0.5), (1e-3, 0.85), (1e-4, 0.9), (1e-5, 0.95), (1e-6, 0.98), (1e-9, 1.0))
"""False match rates and their similarities."""
DECADES = [-math.log10(rate) for rate, _ in ANCHORS]
SIMILARITIES = [similarity for _, similarity in ANCHORS]
SCALE = 100_000.0  # five digits
ROUNDING = 1e-4  # of the last digit: what floating point takes from a score that is just at a threshold


def similarity_of(score: float, thresholds: Thresholds, people: int = 1) -> float:
    """The similarity, 0..1, of a comparison score of one of `people` that a probe was compared with.

    It has five digits and is rounded down: rounded up it would reach a constant whose rate the score does not reach.

    Raises: ThresholdUnsupported when the model has no calibration.
    """
    rate = rate_among(thresholds.rate_of(score), people)
    exact = float(np.interp(-math.log10(rate), DECADES, SIMILARITIES))
    return math.floor(exact * SCALE + ROUNDING) / SCALE


def rate_among(fmr: float, people: int) -> float:
    """The rate at which a stranger matches any of so many, at the false match rate of one comparison.

    1 - (1 - FMR)^N: the binomial relation of ISO/IEC 19795-1.
    """
    return 1.0 if fmr >= 1.0 else -math.expm1(people * math.log1p(-fmr))
