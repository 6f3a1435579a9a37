"""From templates to findings."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from service.face.score import ThresholdTable
from service.measures.curves import equal_error
from service.measures.discard import error_versus_discard
from service.measures.identification import gallery_sizes, measure_galleries
from service.measures.intervals import Estimate
from service.measures.matching import matches
from service.measures.resampling import RULE_OF_3, Resampled, det, rates_at
from service.report.advice import advise
from service.report.collect import Acquired
from service.report.comparisons import Compared, compare
from service.report.findings import (
    DiscardCurve,
    Failures,
    Findings,
    Groups,
    Identification,
    Pair,
    Served,
    Subject,
)
from service.report.groups import measure_groups
from service.report.limits import list_limits
from service.report.study import Study

LOOSEST_SERVED = 1e-2
LOOSEST_DRAWN = 0.1
POINTS_A_DECADE = 8
SHARES = (0.0, 0.01, 0.02, 0.03, 0.05, 0.075, 0.1, 0.15, 0.2, 0.3, 0.4, 0.5)
WORST = 20
DRAWS = 20


@dataclass(frozen=True, slots=True)
class Plan:
    """What a report measures.

    Attributes:
        fmrs: The rates asked by which groups, discard and advice are measured.
        fpirs: The rates asked of searches.
        most: Photographs compared each with each; beyond it, so many of people drawn by the seed.
        rounds: How often people are drawn for an interval.
        seed: Of all draws.
    """

    fmrs: tuple[float, ...]
    fpirs: tuple[float, ...] = (0.01,)
    most: int = 5000
    rounds: int = 300
    seed: int = 0


def check_rates(table: ThresholdTable, plan: Plan) -> None:
    """Check, before any work, that a model can decide at the rates of a plan.

    Raises:
        ThresholdUnsupported: Its calibration does not reach one, or it has none.
    """
    for fmr in (*plan.fmrs, *plan.fpirs):
        table.at(fmr)


def measure(
    study: Study,
    acquired: Acquired,
    table: ThresholdTable,
    cut: float | None,
    subject: Subject,
    plan: Plan,
    progress: Callable[[str, int, int], None],
) -> Findings:
    """Measure all that a study of photographs can tell of a model.

    Args:
        study: The photographs.
        acquired: Their templates.
        table: The model's thresholds.
        cut: The recognisability below which the service calls a face unrecognisable.
        subject: What is said of the measurement.
        plan: What is measured.
        progress: Is told what is done, how much, and of how much.

    Raises:
        ThresholdUnsupported: The model's calibration does not reach a rate that is asked.
    """
    points = {fmr: table.at(fmr).value for fmr in plan.fmrs}
    steps = 4 + len(study.groups)
    done = iter(range(1, steps + 1))

    def step() -> None:
        progress("measures", next(done), steps)

    compared = compare(study, acquired, plan.most, plan.seed)
    data = compared.resampled(plan.rounds, plan.seed)
    served = _serve(data, table, plan.fmrs, _failure_rate(study, acquired))
    step()
    curve = det(data, curve_rates(len(data.pairs.impostor)))
    both = len(data.pairs.genuine) and len(data.pairs.impostor)
    eer = equal_error(data.pairs.genuine, data.pairs.impostor) if both else None
    step()
    groups: list[Groups] = []
    advice = [advise(data, table, fmr, "all") for fmr in plan.fmrs]
    for attribute in study.groups:
        for fmr, threshold in points.items():
            own_groups, within = measure_groups(study, compared, attribute, fmr, threshold, plan.rounds, plan.seed)
            groups.append(own_groups)
            if own_groups.fmr_inequality is not None:
                worst = own_groups.fmr_inequality.worst
                advice.append(advise(within[worst], table, fmr, f"{attribute}: {worst}"))
        step()
    discard = _discard(compared, acquired, points, cut)
    step()
    identification = _identify(study, compared, table, plan)
    step()
    impostors, genuine = compared.extremes(WORST)
    counts = _count(study, acquired, compared, data)
    return Findings(
        subject=subject,
        counts=counts,
        served=served,
        acquisition=_fail(study, acquired),
        det=curve,
        equal_error=eer,
        groups=tuple(groups),
        discard=discard,
        identification=identification,
        advice=tuple(advice),
        highest_impostors=tuple(Pair(study.ids[a], study.ids[b], score) for a, b, score in impostors),
        lowest_genuine=tuple(Pair(study.ids[a], study.ids[b], score) for a, b, score in genuine),
        limits=list_limits(study, acquired, data, table, counts, groups, identification),
    )


def curve_rates(impostors: int) -> list[float]:
    """Rates for the curve, evenly spaced, from the loosest of interest down to what the rule of 3 allows."""
    floor = RULE_OF_3 / max(1, impostors)
    loosest = LOOSEST_DRAWN if floor < LOOSEST_DRAWN / 3 else 1.0
    steps = (10 ** (-step / POINTS_A_DECADE) for step in range(20 * POINTS_A_DECADE))
    return [rate for rate in steps if floor <= rate <= loosest]


def _failure_rate(study: Study, acquired: Acquired) -> float:
    return len(acquired.failures) / len(study.files)


def _serve(data: Resampled, table: ThresholdTable, fmrs: Sequence[float], failures: float) -> tuple[Served, ...]:
    """The calibrated rates that somebody would ask for, and those that are asked for."""
    levels = sorted({*(rate for rate in table.rates if rate <= LOOSEST_SERVED * (1 + 1e-9)), *fmrs}, reverse=True)
    rows = []
    for fmr in levels:
        threshold = table.at(fmr)
        rates = rates_at(data, threshold.value)
        rows.append(
            Served(
                fmr,
                threshold.value,
                threshold.basis,
                threshold.ci95,
                rates.fmr,
                rates.fnmr,
                None if rates.fmr is None else (1 - failures) * rates.fmr.value,
                None if rates.fnmr is None else failures + (1 - failures) * rates.fnmr.value,
                fmr * len(data.pairs.impostor),
                len(data.photographs),
            )
        )
    return tuple(rows)


def _fail(study: Study, acquired: Acquired) -> tuple[Failures, ...]:
    """Failure to acquire by photograph; failure to enrol by photograph, and by person of whom none would be taken."""
    taken = {study.persons[place] for place in range(len(study.files)) if place not in acquired.refusals}
    people = set(study.persons)
    lost = [
        reason
        for place, reasons in acquired.refusals.items()
        if study.persons[place] not in taken
        for reason in reasons
    ]
    return (
        Failures(
            "failure to acquire, by photograph",
            Estimate.of_share(len(acquired.failures), len(study.files)),
            _frequent(acquired.failures.values()),
        ),
        Failures(
            "failure to enrol, by photograph",
            Estimate.of_share(len(acquired.refusals), len(study.files)),
            _frequent(reason for reasons in acquired.refusals.values() for reason in reasons),
        ),
        Failures(
            "failure to enrol, by person",
            Estimate.of_share(len(people) - len(taken), len(people)),
            _frequent(lost),
        ),
    )


def _frequent(reasons: Iterable[str]) -> dict[str, int]:
    return dict(Counter(reasons).most_common())


def _discard(
    compared: Compared, acquired: Acquired, points: Mapping[float, float], cut: float | None
) -> tuple[DiscardCurve, ...]:
    first, second, scores = compared.genuine()
    if not len(scores):
        return ()
    row_of = np.full(int(acquired.rows.max()) + 1, -1)
    row_of[acquired.rows] = np.arange(len(acquired.rows))
    mine: NDArray[np.int64] = row_of[compared.place]
    return tuple(
        DiscardCurve(
            name,
            fmr,
            error_versus_discard(values[mine], first, second, ~matches(scores, threshold), SHARES),
            cut if name == "recognisability" else None,
        )
        for fmr, threshold in points.items()
        for name, values in acquired.quality.items()
    )


def _identify(study: Study, compared: Compared, table: ThresholdTable, plan: Plan) -> tuple[Identification, ...]:
    """Searches among people who are told apart; a protocol that names nobody may have one person under two names."""
    sizes = gallery_sizes(compared.people)
    if not study.named or not sizes or len(compared.person) > plan.most:
        return ()
    scores = compared.matrix()
    return tuple(
        Identification(
            fpir,
            measure_galleries(
                scores,
                compared.person,
                sizes,
                lambda size, fpir=fpir: table.for_gallery(fpir, size).value,  # type: ignore[misc]
                fpir,
                draws=DRAWS,
                seed=plan.seed,
            ),
            DRAWS,
        )
        for fpir in plan.fpirs
    )


def _count(study: Study, acquired: Acquired, compared: Compared, data: Resampled) -> dict[str, int]:
    photographs = Counter(study.persons)
    counts = {
        "photographs": len(study.files),
        "people": len(photographs),
        "people with two or more photographs": sum(count > 1 for count in photographs.values()),
        "templates": len(acquired.rows),
        "templates compared": len(compared.person),
        "people compared": compared.people,
        "genuine comparisons": len(data.pairs.genuine),
        "impostor comparisons": len(data.pairs.impostor),
    }
    if study.pairs is not None:
        counts["pairs listed"] = len(study.pairs)
        counts["pairs without a template"] = len(study.pairs) - len(data.pairs.genuine) - len(data.pairs.impostor)
    return counts
