"""Scores to decisions: the only place where thresholds meet scores."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Protocol

import numpy as np

from service.face.cross_model import Thresholds
from service.face.errors import ThresholdUnsupported
from service.face.score import Threshold
from service.measures.matching import matches


class Scored(Protocol):
    """Anything with a comparison score."""

    @property
    def score(self) -> float:
        """The cosine of two unit templates, -1 to 1."""
        ...


class Outcome(StrEnum):
    """A decision. Only an open-set identification can be ambiguous."""

    MATCH = "match"
    NO_MATCH = "no_match"
    AMBIGUOUS = "ambiguous"


@dataclass(frozen=True, slots=True)
class OperatingPoint:
    """Where the caller wants it decided: at a false match rate, or at a score; neither means the default rate."""

    fmr: float | None = None
    threshold: float | None = None


def threshold_for(
    point: OperatingPoint, table: Thresholds, default_fmr: float, comparisons: int | None = None
) -> Threshold:
    """Find the threshold for one comparison, or, with `comparisons`, for a search of that many templates.

    A rate given for a search is the rate at which a stranger is matched to anyone (FPIR).

    Raises:
        ThresholdUnsupported: the model's calibration cannot answer, or both rate and score are given.
    """
    if point.threshold is not None:
        if point.fmr is not None:
            raise ThresholdUnsupported("give fmr or threshold, not both", table.rates)
        return Threshold(point.threshold, table.fmr_of(point.threshold), "given")
    fmr = default_fmr if point.fmr is None else point.fmr
    return table.at(fmr) if comparisons is None else table.for_gallery(fmr, comparisons)


def is_match(score: float, threshold: Threshold) -> bool:
    """Say whether one comparison's score reaches the threshold."""
    return bool(matches(np.asarray(score), threshold.value))


def decide(score: float, threshold: Threshold) -> Outcome:
    """Decide a verification."""
    return Outcome.MATCH if is_match(score, threshold) else Outcome.NO_MATCH


def decide_open_set(ranked: Sequence[Scored], threshold: Threshold, margin: float) -> tuple[Outcome, float | None]:
    """Decide an identification from candidates in falling order of score, one per subject.

    Two subjects that both pass and lie closer than `margin` are ambiguous: one of them is a stranger to the probe.

    Returns:
        The outcome, and the margin between rank 1 and rank 2 (None with fewer than two candidates).
    """
    gap = ranked[0].score - ranked[1].score if len(ranked) > 1 else None
    if not ranked or not is_match(ranked[0].score, threshold):
        return Outcome.NO_MATCH, gap
    if gap is not None and is_match(ranked[1].score, threshold) and gap < margin:
        return Outcome.AMBIGUOUS, gap
    return Outcome.MATCH, gap


def expected_fpir(threshold: Threshold, comparisons: int) -> float | None:
    """Compute the rate at which a stranger, compared so often at this threshold, matches anybody.

    1 - (1 - FMR)^N: the binomial relation of ISO/IEC 19795-1. None where the FMR is unknown.
    """
    if threshold.fmr is None or comparisons == 1:
        return threshold.fmr
    return -math.expm1(comparisons * math.log1p(-threshold.fmr))
