"""DET and ROC curves of several models, and how any figure is written: as PNG and SVG."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Literal

import matplotlib as mpl
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from service.measures.curves import curve
from training.atomic_folder import whole_file
from training.evaluation.report import Report


def plot(reports: Sequence[Report], folder: Path) -> list[Path]:
    """Write `<protocol>-det` and `-roc`, each as .png and .svg, for reports that carry scores."""
    written = []
    for protocol in dict.fromkeys(report.protocol for report in reports):
        mine = [r for r in reports if r.protocol == protocol and len(r.genuine) and len(r.impostor)]
        if not mine:
            continue
        stem = "".join(c if c.isalnum() or c in "-_." else "-" for c in protocol)
        for kind, draw in (("det", _det), ("roc", _roc)):
            figure = Figure(figsize=(6, 5), layout="constrained")
            axes = figure.subplots()
            draw(axes, mine)
            axes.set_title(protocol)
            axes.grid(visible=True, which="both", alpha=0.3)
            axes.legend()
            written += save(figure, folder, f"{stem}-{kind}")
    return written


def save(figure: Figure, folder: Path, stem: str, dpi: float | Literal["figure"] = "figure") -> list[Path]:
    """Write a figure as `<stem>.png` and `.svg`: the same figure gives the same files, on any day."""
    written = []
    for suffix in ("png", "svg"):
        path = folder / f"{stem}.{suffix}"
        # the salt is what names inside the SVG are made of
        with whole_file(path) as draft, mpl.rc_context({"svg.hashsalt": "facet"}):
            figure.savefig(draft, format=suffix, dpi=dpi, metadata={"Date": None} if suffix == "svg" else None)
        written.append(path)
    return written


def _det(axes: Axes, reports: Sequence[Report]) -> None:
    for report in reports:
        errors = curve(report.genuine, report.impostor)
        seen = (errors.fmr > 0) & (errors.fnmr > 0)
        axes.plot(errors.fmr[seen], errors.fnmr[seen], drawstyle="steps-post", label=report.model)
    axes.set(xscale="log", yscale="log", xlabel="FMR", ylabel="FNMR")


def _roc(axes: Axes, reports: Sequence[Report]) -> None:
    for report in reports:
        errors = curve(report.genuine, report.impostor)
        seen = errors.fmr > 0
        axes.plot(errors.fmr[seen], 1 - errors.fnmr[seen], drawstyle="steps-post", label=report.model)
    axes.set(xscale="log", xlabel="FMR", ylabel="TAR")
