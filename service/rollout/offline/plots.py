"""Measurements and reports as pictures. matplotlib draws them and is asked for only then: the service goes without."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from service.rollout.decision_log import LoggedDecision
from service.rollout.offline.errors import PlotsUnavailable
from service.rollout.offline.measure import Measured, Measurement
from service.rollout.report import Share, report

SUFFIXES = ("png", "svg")
STEPS = 12
"""Parts of the time window that the agreement is shown for."""


def plot_measurement(measurement: Measurement, folder: Path) -> list[Path]:
    """Write `cost` (accuracy against time, memory and file size) and `rates` (TAR against FMR). Returns the files.

    Raises: PlotsUnavailable.
    """
    figure = _figure(12, 4)
    costs: tuple[tuple[str, Any], ...] = (
        ("ms a face, one thread", lambda model: model.milliseconds),
        ("memory, MB", lambda model: model.memory / 1e6),
        ("file, MB", lambda model: model.bytes / 1e6),
    )
    for axes, (label, cost) in zip(figure.subplots(1, len(costs), sharey=True), costs, strict=True):
        for model in measurement.models:
            _point(axes, cost(model), model)
        axes.set(xscale="log", xlabel=label)
        axes.grid(visible=True, which="both", alpha=0.3)
    figure.axes[0].set_ylabel(f"accuracy, %, {measurement.genuine_pairs + measurement.impostor_pairs} pairs")
    figure.axes[-1].legend()
    written = _save(figure, folder, "cost")

    figure = _figure(6, 5)
    axes = figure.subplots()
    for model in measurement.models:
        rates = sorted(model.rates)
        shares = [model.rates[fmr][0] for fmr in rates]
        axes.errorbar(rates, [_percent(s) for s in shares], yerr=_bars(shares), marker="o", capsize=3, label=model.name)
    axes.set(xscale="log", xlabel="FMR", ylabel="TAR, %")
    axes.grid(visible=True, which="both", alpha=0.3)
    axes.legend()
    return written + _save(figure, folder, "rates")


def plot_report(decisions: Sequence[LoggedDecision], champion: str, challenger: str, folder: Path) -> list[Path]:
    """Write `scores` (of both models, with their thresholds), `agreement` (over time) and `seconds`. Returns the files.

    Raises: PlotsUnavailable.
    """
    both = [(each, each.champion, each.challenger) for each in decisions if each.challenger is not None]
    figure = _figure(6, 6)
    axes = figure.subplots()
    for agree, colour in ((True, "tab:blue"), (False, "tab:red")):
        mine = [pair for each, *pair in both if each.agree is agree and None not in (pair[0].score, pair[1].score)]
        axes.scatter(
            [first.score for first, _ in mine],
            [second.score for _, second in mine],
            s=12,
            alpha=0.6,
            color=colour,
            label=f"{'agree' if agree else 'disagree'}: {sum(each.agree is agree for each, *_ in both)}",
        )
    if both:
        axes.axvline(float(np.median([first.threshold for _, first, _ in both])), color="grey", linewidth=1)
        axes.axhline(float(np.median([second.threshold for *_, second in both])), color="grey", linewidth=1)
    axes.set(xlabel=f"score, {champion}", ylabel=f"score, {challenger}", title="lines: median thresholds")
    axes.legend()
    written = _save(figure, folder, "scores")

    figure = _figure(8, 4)
    axes = figure.subplots()
    compared = [each for each, *_ in both]
    parts = [list(part) for part in np.array_split(np.array(compared, dtype=object), STEPS) if len(part)]
    shares = [report(part).agreement for part in parts]
    times = [part[len(part) // 2].at for part in parts]
    axes.errorbar(times, [_percent(s) for s in shares], yerr=_bars(shares), marker="o", capsize=3)
    axes.set(ylabel="agreement, %", title=f"{champion} and {challenger}, equal numbers of cases, 95 % intervals")
    figure.autofmt_xdate()
    written += _save(figure, folder, "agreement")

    figure = _figure(6, 4)
    axes = figure.subplots()
    sides = (
        (champion, [first.seconds for _, first, _ in both]),
        (challenger, [second.seconds for *_, second in both]),
    )
    for name, seconds in sides:
        values = np.sort(np.array(seconds, dtype=np.float64)) * 1000
        axes.plot(values, np.arange(1, len(values) + 1) / max(1, len(values)), drawstyle="steps-post", label=name)
    axes.set(xlabel="ms to embed and to compare or search", ylabel="share of cases", ylim=(0, 1))
    axes.legend()
    return written + _save(figure, folder, "seconds")


def _figure(width: float, height: float) -> Any:
    try:
        from matplotlib.figure import Figure  # noqa: PLC0415 - the service itself goes without it
    except ModuleNotFoundError as error:
        raise PlotsUnavailable("plots need matplotlib: pip install matplotlib") from error
    return Figure(figsize=(width, height), layout="constrained")


def _save(figure: Any, folder: Path, name: str) -> list[Path]:
    folder.mkdir(parents=True, exist_ok=True)
    paths = [folder / f"{name}.{suffix}" for suffix in SUFFIXES]
    for path in paths:
        figure.savefig(path)
    return paths


def _point(axes: Any, cost: float, model: Measured) -> None:
    share = model.accuracy
    axes.errorbar([cost], [_percent(share)], yerr=_bars([share]), marker="o", capsize=3, linestyle="", label=model.name)


def _percent(share: Share) -> float:
    return 100 * (share.value or 0.0)


def _bars(shares: Sequence[Share]) -> list[list[float]]:
    """How far the intervals reach down and up, in per cent."""
    ends = [(share, share.ci95 or (0.0, 1.0)) for share in shares]
    lower = [max(0.0, _percent(share) - 100 * low) for share, (low, _) in ends]
    return [lower, [max(0.0, 100 * high - _percent(share)) for share, (_, high) in ends]]
