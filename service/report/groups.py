"""Error rates by group of people, at the thresholds that are served."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from service.measures.bootstrap import CI95
from service.measures.demographics import worst_over_geometric_mean
from service.measures.matching import matches
from service.measures.resampling import Resampled, rates_at, resample_rates
from service.measures.thresholds import Scores
from service.report.comparisons import Compared, Rows
from service.report.findings import Group, Groups
from service.report.study import Study


def members(study: Study, compared: Compared, attribute: str) -> dict[str, Rows]:
    """The rows of each group that has a name."""
    names = np.array(study.groups[attribute])[compared.place]
    return {str(name): np.flatnonzero(names == name) for name in np.unique(names) if name}


def measure_groups(
    study: Study, compared: Compared, attribute: str, asked: float, threshold: float, rounds: int, seed: int
) -> tuple[Groups, dict[str, Resampled]]:
    """Measure FMR and FNMR within each group, and how unequal they are.

    Returns:
        The rates, and the comparisons within each group.
    """
    rows = members(study, compared, attribute)
    data = {name: compared.resampled(rounds, seed + place, rows[name]) for place, name in enumerate(rows)}
    groups, fmrs, fnmrs = [], [], []
    for name, own in data.items():
        rates = rates_at(own, threshold)
        fmr, fnmr = resample_rates(own, threshold)
        groups.append(Group(name, len(own.photographs), len(rows[name]), rates.fmr, rates.fnmr))
        if rates.fmr is not None:
            fmrs.append((fmr, rates.fmr.trials))
        if rates.fnmr is not None:
            fnmrs.append((fnmr, rates.fnmr.trials))
    unsaid = len(compared.place) - sum(len(each) for each in rows.values())
    report = replace(
        Groups.of(attribute, asked, threshold, groups, unsaid),
        fmr_ratio_ci95=_ratio_interval(fmrs),
        fnmr_ratio_ci95=_ratio_interval(fnmrs),
        across=_across(compared, rows, threshold) if compared.listed is None else {},
    )
    return report, data


def _ratio_interval(drawn: Sequence[tuple[Scores, int]]) -> tuple[float, float] | None:
    """The interval of the worst over the geometric mean, of rates and trials: groups are drawn each for itself."""
    if len(drawn) < 2:
        return None
    trials = [count for _, count in drawn]
    rounds = np.nan_to_num(np.stack([rates for rates, _ in drawn]))
    low, high = np.quantile([worst_over_geometric_mean(each.tolist(), trials) for each in rounds.T], CI95)
    return float(low), float(high)


def _across(compared: Compared, rows: dict[str, Rows], threshold: float) -> dict[str, dict[str, float | None]]:
    """The FMR of photographs of one group with those of another."""
    names = list(rows)
    table: dict[str, dict[str, float | None]] = {name: {} for name in names}
    for place, first in enumerate(names):
        for second in names[place + 1 :]:
            scores = compared.probes[rows[first]] @ compared.references[rows[second]].T
            strangers = compared.person[rows[first]][:, None] != compared.person[rows[second]][None, :]
            trials = int(strangers.sum())
            rate = float((matches(scores, threshold) & strangers).sum() / trials) if trials else None
            table[first][second] = table[second][first] = rate
    return table
