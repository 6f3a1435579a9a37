"""Findings from decisions of which somebody told the truth: the log of live requests."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence

import numpy as np

from service.measures.curves import equal_error
from service.measures.intervals import Estimate
from service.measures.resampling import RULE_OF_30, DetPoint
from service.measures.thresholds import Scores, false_match_rate, false_non_match_rate, tar_at, threshold_at
from service.report.findings import Findings, Group, Groups, Pair, Served, Subject
from service.report.measure import WORST, curve_rates
from service.rollout.decision_log import LoggedDecision
from service.rollout.errors import RolloutError
from service.rollout.model_decision import IDENTIFY, VERIFY
from service.rollout.report import GENUINE, IMPOSTOR

UNTOLD = "not told"


class OutcomesMissing(RolloutError):
    """Of no decision has anybody told what was true: there is nothing to measure."""

    code = "outcomes_missing"


def measure_decisions(decisions: Sequence[LoggedDecision], subject: Subject) -> Findings:
    """Measure a model on decisions whose outcomes were told; the rates asked are those of the requests.

    The log names no person, so intervals are Wilson's and take decisions as independent.

    Raises:
        OutcomesMissing: Of no decision an outcome was told.
    """
    with_outcome = [each for each in decisions if each.outcome in (GENUINE, IMPOSTOR)]
    if not with_outcome:
        raise OutcomesMissing(
            "no decision of this model has an outcome: tell some with POST /v1/decisions/ID/outcome, or take others"
        )
    verified = [each for each in with_outcome if each.route == VERIFY and each.champion.score is not None]
    genuine, impostor = (
        np.array([each.champion.score for each in verified if each.outcome == outcome], np.float64)
        for outcome in (GENUINE, IMPOSTOR)
    )
    ranked = sorted(verified, key=lambda each: each.champion.score or 0.0)
    counts = {
        "decisions": len(decisions),
        "decisions with an outcome": len(with_outcome),
        "verifications with an outcome": sum(each.route == VERIFY for each in with_outcome),
        "identifications with an outcome": sum(each.route == IDENTIFY for each in with_outcome),
        "genuine comparisons": len(genuine),
        "impostor comparisons": len(impostor),
    }
    return Findings(
        subject=subject,
        counts=counts,
        served=tuple(_serve(with_outcome)),
        det=tuple(_det(genuine, impostor)),
        equal_error=equal_error(genuine, impostor) if len(genuine) and len(impostor) else None,
        groups=tuple(_by_collection(verified)),
        highest_impostors=_pairs([each for each in reversed(ranked) if each.outcome == IMPOSTOR]),
        lowest_genuine=_pairs([each for each in ranked if each.outcome == GENUINE]),
        coverage=_cover(decisions),
        limits=tuple(_limits(decisions, with_outcome, len(genuine), len(impostor))),
    )


def _det(genuine: Scores, impostor: Scores) -> Iterator[DetPoint]:
    """The curve down to what the impostors can carry; intervals are those of the genuine decisions alone."""
    if not len(genuine) or not len(impostor):
        return
    for fmr in curve_rates(len(impostor)):
        matched = tar_at(genuine, impostor, fmr)
        low, high = matched.ci95 or (0.0, 1.0)
        missed = Estimate(1 - matched.value, (1 - high, 1 - low), matched.trials)
        yield DetPoint(fmr, threshold_at(impostor, fmr), missed, fmr * len(impostor) >= RULE_OF_30)


def _serve(decisions: Sequence[LoggedDecision]) -> list[Served]:
    """By route and rate asked: verifications at an FMR, identifications at an FPIR."""
    rows = []
    rates = Counter((each.route, _rate(each)) for each in decisions if each.champion.fmr is not None)
    for route, fmr in sorted(rates, key=lambda key: (key[0] != VERIFY, -key[1])):
        mine = [
            each for each in decisions if each.route == route and each.champion.fmr is not None and _rate(each) == fmr
        ]
        impostor = [each.champion.accepts for each in mine if each.outcome == IMPOSTOR]
        genuine = [not each.champion.accepts for each in mine if each.outcome == GENUINE]
        rows.append(
            Served(
                fmr,
                float(np.median([each.champion.threshold for each in mine])),
                "verifications" if route == VERIFY else "searches",
                None,
                Estimate.of_share(sum(impostor), len(impostor)) if impostor else None,
                Estimate.of_share(sum(genuine), len(genuine)) if genuine else None,
                None,
                None,
                fmr * len(impostor),
                None,
            )
        )
    return rows


def _rate(each: LoggedDecision) -> float:
    """The rate that a decision promised, to two digits: that of a search follows from the gallery's size."""
    return float(f"{each.champion.fmr or 0.0:.2g}")


def _by_collection(verified: Sequence[LoggedDecision]) -> list[Groups]:
    """Verifications by collection, at each rate asked."""
    rows = []
    rates = sorted({_rate(each) for each in verified if each.champion.fmr is not None}, reverse=True)
    for fmr in rates:
        mine = [each for each in verified if each.champion.fmr is not None and _rate(each) == fmr]
        names = sorted({each.collection for each in mine if each.collection is not None})
        if len(names) < 2:
            continue
        groups = [_group(name, [each for each in mine if each.collection == name]) for name in names]
        threshold = float(np.median([each.champion.threshold for each in mine]))
        unsaid = sum(each.collection is None for each in mine)
        rows.append(Groups.of("collection", fmr, threshold, groups, unsaid))
    return rows


def _group(name: str, mine: Sequence[LoggedDecision]) -> Group:
    impostor = np.array([each.champion.score for each in mine if each.outcome == IMPOSTOR], np.float64)
    genuine = np.array([each.champion.score for each in mine if each.outcome == GENUINE], np.float64)
    threshold = float(np.median([each.champion.threshold for each in mine]))
    return Group(
        name,
        None,
        len(mine),
        false_match_rate(impostor, threshold) if len(impostor) else None,
        false_non_match_rate(genuine, threshold) if len(genuine) else None,
    )


def _pairs(ranked: Sequence[LoggedDecision]) -> tuple[Pair, ...]:
    return tuple(
        Pair(each.request_id, each.collection or "two photographs", each.champion.score or 0.0)
        for each in ranked[:WORST]
    )


def _cover(decisions: Sequence[LoggedDecision]) -> dict[str, dict[str, int]]:
    """How often what was decided has an outcome: rates are of those alone of which the truth was told."""
    table: dict[str, dict[str, int]] = {}
    for each in decisions:
        row = table.setdefault(f"{each.route}: {each.champion.decision}", dict.fromkeys((GENUINE, IMPOSTOR, UNTOLD), 0))
        row[each.outcome or UNTOLD] += 1
    return dict(sorted(table.items()))


def _limits(
    decisions: Sequence[LoggedDecision], told: Sequence[LoggedDecision], genuine: int, impostor: int
) -> Iterator[str]:
    share = len(told) / len(decisions)
    yield (
        f"Of {share:.1%} of the decisions the truth was told. Where it is told more readily of one decision than of "
        "another (complaints of those turned away, say), the rates are those of what was told and not of all."
    )
    yield (
        f"{impostor:,} impostor and {genuine:,} genuine verifications with an outcome: an FMR below "
        f"{3 / max(1, impostor):.1e} and an FNMR below {3 / max(1, genuine):.1e} cannot be shown (rule of 3)."
    )
    yield "The log names no person: intervals take decisions as independent, and are too narrow where people return."
    yield "Photographs in which no face was found are not in the log: failure to acquire and to enrol are not measured."
    yield "The log keeps no image and no template: discard by quality and galleries of other sizes cannot be measured."
    yield "Only sampled decisions are kept, and for a while; what was before, or was not sampled, is not counted."
    yield "Whoever told the outcomes may err: a wrong outcome counts as a wrong decision."
