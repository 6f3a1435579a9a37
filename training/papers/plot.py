"""Accuracy against milliseconds for one face, one point per row: full where a row is at its end, hollow before."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import LogLocator, NullFormatter, PercentFormatter
from numpy.typing import NDArray

from training.evaluation.plots import save
from training.papers.rows import TEACHER

MEASURE = "lfw accuracy"
GAP = 0.011
"""Labels of one column stand at least this far apart, in units of accuracy."""
NEAR = 1.25
"""Networks whose times differ by less than this factor share a column of labels."""


def draw_points(results: Mapping[str, Any], folder: Path) -> list[Path]:
    """Write `papers.png` and `papers.svg`; rows that were not run, and landmark rows, are not drawn."""
    rows = [row for row in results["rows"] if MEASURE in row.get("measures", {})]
    figure = Figure(figsize=(10, 9), layout="constrained")
    axes = figure.subplots()
    for number, system in enumerate(dict.fromkeys(row["system"] for row in rows)):
        mine = [row for row in rows if row["system"] == system]
        x = np.array([row["milliseconds"] for row in mine])
        y = np.array([row["measures"][MEASURE]["value"] for row in mine])
        ends = np.array([row["measures"][MEASURE]["ci95"] for row in mine])
        axes.errorbar(x, y, np.abs(ends.T - y), fmt="none", ecolor=f"C{number}", elinewidth=0.6, alpha=0.8)
        fill = [f"C{number}" if row.get("end", True) else "white" for row in mine]
        axes.scatter(x, y, c=fill, edgecolors=f"C{number}", label=system, zorder=3)
    for column in columns(rows):
        mine = sorted(column, key=lambda row: float(row["measures"][MEASURE]["value"]))
        heights = spread(np.array([row["measures"][MEASURE]["value"] for row in mine]), GAP)
        right = 1.05 * max(row["milliseconds"] for row in mine)
        for row, height in zip(mine, heights, strict=True):
            axes.annotate(
                row["recipe"],
                (row["milliseconds"], row["measures"][MEASURE]["value"]),
                (right, height),
                fontsize=7,
                va="center",
                arrowprops={"arrowstyle": "-", "lw": 0.3, "color": "grey"},
            )
    axes.set(
        xscale="log",
        xlabel="milliseconds for one face, one thread, ONNX Runtime",
        ylabel="accuracy, LFW View 1 (devTest at devTrain's threshold)",
    )
    _draw_references(axes, results)
    axes.margins(x=0.15)
    axes.xaxis.set_major_locator(LogLocator(subs=(1, 2, 3, 5)))
    axes.xaxis.set_major_formatter("{x:g}")
    axes.xaxis.set_minor_formatter(NullFormatter())
    axes.yaxis.set_major_formatter(PercentFormatter(1))
    axes.grid(visible=True, which="both", alpha=0.3)
    axes.legend(loc="lower right", fontsize=8)
    return save(figure, folder, "papers", dpi=110)


def _draw_references(axes: Axes, results: Mapping[str, Any]) -> None:
    """The accuracy of the teacher as a line, and MobileID's ensemble as a star, where they are known."""
    teacher = next((row for row in results["rows"] if row["recipe"] == TEACHER and row.get("end")), None)
    if teacher is not None:
        axes.axhline(teacher["measures"][MEASURE]["value"], color="grey", linestyle="--", linewidth=0.6)
    ensemble = results.get("ensemble")
    if ensemble and ensemble["milliseconds"]:
        place = ensemble["milliseconds"], ensemble["measures"][MEASURE]["value"]
        axes.scatter(*place, marker="*", s=120, color="black", label="MobileID's ensemble", zorder=3)


def columns(rows: Sequence[Mapping[str, Any]]) -> list[list[Mapping[str, Any]]]:
    """Rows of about the same speed, whose labels would cover each other."""
    groups: list[list[Mapping[str, Any]]] = []
    for row in sorted(rows, key=lambda row: float(row["milliseconds"])):
        if not groups or row["milliseconds"] > NEAR * groups[-1][-1]["milliseconds"]:
            groups.append([])
        groups[-1].append(row)
    return groups


def spread(values: Sequence[float] | NDArray[np.float64], gap: float) -> NDArray[np.float64]:
    """Move rising values apart as little as keeps each `gap` above the one before, around their common middle."""
    steps = np.arange(len(values)) * gap
    pushed = np.maximum.accumulate(np.asarray(values, dtype=np.float64) - steps) + steps
    return np.asarray(pushed - (pushed - values).mean())
