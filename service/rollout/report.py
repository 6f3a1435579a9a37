"""What the cases of two models say: how often they agree, where they differ, how fast they are, who was right."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np

from service.decision import Outcome
from service.measures.intervals import wilson
from service.rollout.challenger_result import IDENTIFY, VERIFY, Route
from service.rollout.decision_log import Case

GENUINE, IMPOSTOR = "genuine", "impostor"
QUANTILES = {"p50": 0.5, "p95": 0.95, "p99": 0.99}


@dataclass(frozen=True, slots=True)
class Share:
    """`count` of `trials`, and the 95 % Wilson interval of the proportion; no interval without trials."""

    count: int
    trials: int

    @property
    def value(self) -> float | None:
        """The proportion."""
        return self.count / self.trials if self.trials else None

    @property
    def ci95(self) -> tuple[float, float] | None:
        """Its interval."""
        return wilson(self.count, self.trials) if self.trials else None


@dataclass(frozen=True, slots=True)
class Observed:
    """What a model got wrong among the cases that were judged, beside what its thresholds promise.

    `promised` is the mean promise over the impostor cases: an FMR for verifications, an FPIR for identifications.
    """

    route: Route
    false_matches: Share
    false_non_matches: Share
    promised: float | None


@dataclass(frozen=True, slots=True)
class Side:
    """One model of the pair: seconds by quantile, and what it got wrong by route."""

    seconds: dict[str, float]
    observed: tuple[Observed, ...]


@dataclass(frozen=True, slots=True)
class Report:
    """A comparison. `table` counts cases by (champion matches, challenger matches); `correlation` is Pearson's, of
    the scores, None where there are fewer than two or they do not vary.
    """

    cases: int
    agreement: Share
    table: dict[tuple[bool, bool], int]
    correlation: float | None
    champion: Side
    challenger: Side | None


def report(cases: Sequence[Case]) -> Report:
    """The comparison that these cases of one pair make; without a challenger only the champion's side."""
    both = [case for case in cases if case.challenger is not None]
    table = Counter((champion_accepts(case), case.challenger_decision == Outcome.MATCH) for case in both)
    scores = [
        (case.champion_score, case.challenger_score)
        for case in both
        if case.champion_score is not None and case.challenger_score is not None
    ]
    return Report(
        cases=len(cases),
        agreement=Share(sum(bool(case.agree) for case in both), len(both)),
        table={(first, second): table[first, second] for first in (True, False) for second in (True, False)},
        correlation=_correlation(scores),
        champion=Side(
            _quantiles([case.champion_seconds for case in cases]),
            _observed(cases, champion_accepts, lambda case: case.champion_fmr),
        ),
        challenger=Side(
            _quantiles([case.challenger_seconds for case in both if case.challenger_seconds is not None]),
            _observed(both, challenger_accepts, lambda case: case.challenger_fmr),
        )
        if both
        else None,
    )


def champion_accepts(case: Case) -> bool:
    """Whether the champion took the probe for the person: of the reference, or of its rank 1."""
    return case.champion_decision == Outcome.MATCH


def challenger_accepts(case: Case) -> bool:
    """Whether the challenger took the probe for the same person that the champion had in mind."""
    return case.challenger_decision == Outcome.MATCH and (case.route == VERIFY or case.challenger_rank == 1)


def _observed(
    cases: Sequence[Case], accepts: Callable[[Case], bool], promise: Callable[[Case], float | None]
) -> tuple[Observed, ...]:
    found = []
    routes: tuple[Route, ...] = (VERIFY, IDENTIFY)
    for route in routes:
        genuine = [case for case in cases if case.route == route and case.outcome == GENUINE]
        impostor = [case for case in cases if case.route == route and case.outcome == IMPOSTOR]
        promises = [rate for case in impostor if (rate := promise(case)) is not None]
        if genuine or impostor:
            found.append(
                Observed(
                    route,
                    Share(sum(accepts(case) for case in impostor), len(impostor)),
                    Share(sum(not accepts(case) for case in genuine), len(genuine)),
                    float(np.mean(promises)) if promises else None,
                )
            )
    return tuple(found)


def _quantiles(seconds: Sequence[float]) -> dict[str, float]:
    if not seconds:
        return {}
    return {name: float(np.quantile(seconds, at)) for name, at in QUANTILES.items()}


def _correlation(scores: Sequence[tuple[float, float]]) -> float | None:
    pairs = np.array(scores, dtype=np.float64).reshape(-1, 2)
    if len(pairs) < 2 or np.ptp(pairs[:, 0]) == 0 or np.ptp(pairs[:, 1]) == 0:
        return None
    return float(np.corrcoef(pairs[:, 0], pairs[:, 1])[0, 1])
