"""Scores to decisions: the only place where thresholds meet scores."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Protocol

from service.face.cross_model import Thresholds
from service.face.errors import ThresholdUnsupported
from service.face.score import Threshold


class Scored(Protocol):
    """Anything with a comparison score."""

    @property
    def score(self) -> float: ...


class Outcome(StrEnum):
    """The open-set decision of an identification."""

    MATCH = "match"
    NO_MATCH = "no_match"
    AMBIGUOUS = "ambiguous"


@dataclass(frozen=True, slots=True)
class Ask:
    """What the caller wants decided by: a model (None: the default) and a false match rate, or a score."""

    model: str | None = None
    fmr: float | None = None
    threshold: float | None = None


def threshold_for(ask: Ask, table: Thresholds, default_fmr: float, comparisons: int | None = None) -> Threshold:
    """The threshold for one comparison, or, with `comparisons`, for a search of that many templates.

    A rate asked for a search is the rate at which a stranger is matched to anyone (FPIR).

    Raises: ThresholdUnsupported when the model's calibration cannot answer, or both rate and score are given.
    """
    if ask.threshold is not None:
        if ask.fmr is not None:
            raise ThresholdUnsupported("give fmr or threshold, not both", table.rates)
        return Threshold(ask.threshold, table.fmr_of(ask.threshold), "given")
    fmr = default_fmr if ask.fmr is None else ask.fmr
    return table.at(fmr) if comparisons is None else table.for_gallery(fmr, comparisons)


def decide_open_set(ranked: Sequence[Scored], threshold: Threshold, margin: float) -> tuple[Outcome, float | None]:
    """Decide an identification from candidates in falling order of score, one per subject.

    Returns the outcome and the margin between rank 1 and rank 2 (None with fewer than two candidates). Two
    subjects that both pass and lie closer than `margin` are ambiguous: one of them is a stranger to the probe.
    """
    gap = ranked[0].score - ranked[1].score if len(ranked) > 1 else None
    if not ranked or ranked[0].score < threshold.value:
        return Outcome.NO_MATCH, gap
    if gap is not None and ranked[1].score >= threshold.value and gap < margin:
        return Outcome.AMBIGUOUS, gap
    return Outcome.MATCH, gap
