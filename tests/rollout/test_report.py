"""What cases add up to: agreement, tables, correlation, latencies, and errors beside promises."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

import numpy as np
import pytest

from service.rollout.decision_log import LoggedDecision, ModelResult
from service.rollout.report import Share, report

CASE: dict[str, Any] = {
    "row": 1,
    "at": datetime(2030, 1, 1, tzinfo=UTC),
    "request_id": "r",
    "route": "verify",
    "face": 0,
    "collection": None,
    "champion": "a" * 64,
    "champion_score": 0.6,
    "champion_threshold": 0.4,
    "champion_fmr": 1e-3,
    "champion_decision": "match",
    "champion_rank": None,
    "champion_seconds": 0.02,
    "challenger": "b" * 64,
    "challenger_score": 0.5,
    "challenger_threshold": 0.45,
    "challenger_fmr": 1e-3,
    "challenger_decision": "match",
    "challenger_rank": None,
    "challenger_seconds": 0.01,
    "agree": True,
    "outcome": None,
}


def case(**changes: Any) -> LoggedDecision:
    fields = {**CASE, **changes}
    results = {}
    for role in ("champion", "challenger"):
        model = fields.pop(role)
        values = {name.removeprefix(f"{role}_"): fields.pop(name) for name in list(fields) if name.startswith(role)}
        results[role] = None if model is None else ModelResult(model=model, **values)
    return LoggedDecision(**results, **fields)


def test_agreement_and_the_table_of_decisions() -> None:
    cases = [
        *[case() for _ in range(7)],
        case(champion_decision="no_match", agree=False),
        case(challenger_decision="no_match", agree=False),
        case(champion_decision="no_match", challenger_decision="no_match"),
    ]
    made = report(cases)
    assert made.cases == 10
    assert (made.agreement.count, made.agreement.trials) == (8, 10)
    # Wilson's interval of 8 in 10, as in his paper's formula worked by hand.
    assert made.agreement.ci95 == pytest.approx((0.49016, 0.94331), abs=1e-4)
    assert made.table == {(True, True): 7, (True, False): 1, (False, True): 1, (False, False): 1}


def test_two_matches_on_different_subjects_are_a_disagreement_that_the_table_does_not_hide() -> None:
    made = report([case(route="identify", challenger_rank=2, champion_rank=2, agree=False)])
    assert made.agreement.value == 0
    assert made.table[True, True] == 1


def test_correlation_is_pearsons_and_absent_without_variation() -> None:
    scores = [(0.1, 0.2), (0.5, 0.4), (0.9, 0.95), (0.3, 0.1)]
    cases = [case(champion_score=first, challenger_score=second) for first, second in scores]
    first, second = np.array(scores).T
    expected = np.mean((first - first.mean()) * (second - second.mean())) / (first.std() * second.std())
    assert report(cases).correlation == pytest.approx(expected)
    assert report([case(), case()]).correlation is None
    assert report([case(champion_score=None)]).correlation is None
    assert report([]).correlation is None


def test_latencies_by_quantile() -> None:
    made = report([case(champion_seconds=n / 100, challenger_seconds=n / 50) for n in range(101)])
    assert made.champion.seconds == pytest.approx({"p50": 0.5, "p95": 0.95, "p99": 0.99})
    assert made.challenger is not None
    assert made.challenger.seconds["p50"] == pytest.approx(1.0)


def test_errors_of_each_model_stand_beside_what_was_promised() -> None:
    cases = [
        *[case(outcome="genuine") for _ in range(8)],
        case(outcome="genuine", champion_decision="no_match"),
        case(outcome="genuine", challenger_decision="no_match"),
        *[case(outcome="impostor", champion_decision="no_match", challenger_decision="no_match") for _ in range(3)],
        case(outcome="impostor", challenger_decision="no_match", champion_fmr=3e-3),
        case(),  # nobody told
    ]
    made = report(cases)
    (champion,) = made.champion.observed
    assert (champion.route, champion.false_non_matches, champion.false_matches) == ("verify", Share(1, 10), Share(1, 4))
    assert champion.promised == pytest.approx((3 * 1e-3 + 3e-3) / 4)
    assert made.challenger is not None
    (challenger,) = made.challenger.observed
    assert (challenger.false_non_matches, challenger.false_matches) == (Share(1, 10), Share(0, 4))
    low, high = challenger.false_matches.ci95 or (1.0, 0.0)
    assert low == pytest.approx(0.0, abs=1e-12)
    assert 0.4 < high < 0.6


def test_a_challenger_who_matches_somebody_else_does_not_accept_the_champions_subject() -> None:
    made = report([case(route="identify", outcome="genuine", challenger_rank=2, champion_rank=3, agree=False)])
    assert made.challenger is not None
    assert made.champion.observed[0].false_non_matches == Share(0, 1)
    assert made.challenger.observed[0].false_non_matches == Share(1, 1)


def test_without_a_challenger_there_is_only_the_champions_side() -> None:
    alone = {name: None for name in CASE if name.startswith("challenger")}
    made = report([case(**alone, agree=None, outcome="impostor")])
    assert made.challenger is None
    assert (made.cases, made.agreement.trials, made.agreement.ci95) == (1, 0, None)
    assert made.champion.observed[0].false_matches == Share(1, 1)
