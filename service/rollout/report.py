"""What the log of two models says: how often they agree, where they differ, how fast they are, who was right."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from service.measures.intervals import wilson
from service.rollout.decision_log import LoggedDecision, ModelResult
from service.rollout.model_decision import IDENTIFY, VERIFY, Route

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
    """What a model got wrong among the decisions that were judged, beside what its thresholds promise.

    `promised` is the mean promise over the impostors: an FMR for verifications, an FPIR for identifications.
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
    """How two models decided the same requests.

    `table` counts decisions by (champion matches, challenger matches); `correlation` is Pearson's, of the scores, None
    where there are fewer than two or they do not vary.
    """

    cases: int
    agreement: Share
    table: dict[tuple[bool, bool], int]
    correlation: float | None
    champion: Side
    challenger: Side | None


def report(decisions: Sequence[LoggedDecision]) -> Report:
    """Report on the logged decisions of one pair; without a challenger only the champion's side."""
    both = [(each, each.challenger) for each in decisions if each.challenger is not None]
    table = Counter((each.champion.accepts, challenger.accepts) for each, challenger in both)
    scores = [
        (each.champion.score, challenger.score)
        for each, challenger in both
        if each.champion.score is not None and challenger.score is not None
    ]
    return Report(
        cases=len(decisions),
        agreement=Share(sum(bool(each.agree) for each, _ in both), len(both)),
        table={(first, second): table[first, second] for first in (True, False) for second in (True, False)},
        correlation=_correlation(scores),
        champion=_side([_Judged(each, each.champion, each.champion.accepts) for each in decisions]),
        challenger=_side([_Judged(each, result, each.challenger_accepts) for each, result in both]) if both else None,
    )


@dataclass(frozen=True, slots=True)
class _Judged:
    """A logged decision, one model's result, and whether that model took the probe for the champion's person."""

    decision: LoggedDecision
    result: ModelResult
    accepts: bool


def _side(results: Sequence[_Judged]) -> Side:
    return Side(_quantiles([each.result.seconds for each in results]), _observe(results))


def _observe(results: Sequence[_Judged]) -> tuple[Observed, ...]:
    observed = []
    routes: tuple[Route, ...] = (VERIFY, IDENTIFY)
    for route in routes:
        of_route = [each for each in results if each.decision.route == route]
        genuine = [each for each in of_route if each.decision.outcome == GENUINE]
        impostor = [each for each in of_route if each.decision.outcome == IMPOSTOR]
        promises = [each.result.fmr for each in impostor if each.result.fmr is not None]
        if genuine or impostor:
            observed.append(
                Observed(
                    route,
                    Share(sum(each.accepts for each in impostor), len(impostor)),
                    Share(sum(not each.accepts for each in genuine), len(genuine)),
                    float(np.mean(promises)) if promises else None,
                )
            )
    return tuple(observed)


def _quantiles(seconds: Sequence[float]) -> dict[str, float]:
    if not seconds:
        return {}
    return {name: float(np.quantile(seconds, at)) for name, at in QUANTILES.items()}


def _correlation(scores: Sequence[tuple[float, float]]) -> float | None:
    pairs = np.array(scores, dtype=np.float64).reshape(-1, 2)
    if len(pairs) < 2 or np.ptp(pairs[:, 0]) == 0 or np.ptp(pairs[:, 1]) == 0:
        return None
    return float(np.corrcoef(pairs[:, 0], pairs[:, 1])[0, 1])
