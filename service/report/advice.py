"""What rate to ask for, so that a wanted one is kept on the people at hand."""

from __future__ import annotations

import numpy as np

from service.face.errors import ThresholdUnsupported
from service.face.score import ThresholdTable
from service.measures.resampling import RULE_OF_30, RatesAt, Resampled, rates_at
from service.report.findings import Advice

STEPS = 10
"""Rates a decade that are tried."""


def advise(data: Resampled, table: ThresholdTable, wanted: float, among: str) -> Advice:
    """Find the loosest rate to ask for whose observed rate stays below the wanted one, its interval included."""
    impostors = len(data.pairs.impostor)
    if wanted * impostors < RULE_OF_30 * (1 - 1e-9):
        why = f"{impostors} impostor comparisons cannot show {wanted:g}: {RULE_OF_30 / wanted:.0f} are needed"
        return Advice(wanted, among, None, None, None, None, why)
    candidates = _candidates(table, wanted)
    by_rate = {rate: rates_at(data, table.at(rate).value) for rate in (candidates[0], candidates[-1])}
    if not _keeps(by_rate[candidates[-1]], wanted):
        why = f"no rate of the calibration, down to {candidates[-1]:.2g}, keeps {wanted:g} here"
        return Advice(wanted, among, None, None, None, None, why)
    low, high = 0, len(candidates) - 1  # rates fall: what keeps lies from some place on
    while low < high:
        middle = (low + high) // 2
        by_rate[candidates[middle]] = rates_at(data, table.at(candidates[middle]).value)
        low, high = (low, middle) if _keeps(by_rate[candidates[middle]], wanted) else (middle + 1, high)
    rates = by_rate.get(candidates[low]) or rates_at(data, table.at(candidates[low]).value)
    why = "the rate itself is kept" if low == 0 else "the interval's upper end lies below the wanted rate"
    return Advice(wanted, among, candidates[low], rates.threshold, rates.fmr, rates.fnmr, why)


def _candidates(table: ThresholdTable, wanted: float) -> list[float]:
    """The wanted rate and stricter ones, down to the end of the calibration."""
    strictest = table.rates[-1]
    if wanted < strictest * (1 - 1e-9):
        raise ThresholdUnsupported(f"FMR {wanted:g} is outside this model's calibration", table.rates)
    steps = int(np.floor(np.log10(wanted / strictest) * STEPS + 1e-9))
    return [float(wanted * 10 ** (-step / STEPS)) for step in range(steps + 1)]


def _keeps(rates: RatesAt, wanted: float) -> bool:
    return rates.fmr is not None and rates.fmr.ci95 is not None and rates.fmr.ci95[1] <= wanted
