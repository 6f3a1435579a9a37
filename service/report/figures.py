"""Findings as figures: SVG by matplotlib, in the colours of the page, so that they are dark where the page is.

matplotlib draws in colours that stand for the page's; `INKS` puts the page's in their place. Text stays text.
"""

from __future__ import annotations

import io
import re
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from html import escape
from typing import Any

from service.measures.intervals import Estimate
from service.report.findings import DiscardCurve, Findings, Groups, Identification

INKS = {
    "#010101": "var(--ink)",
    "#020202": "var(--faint)",
    "#030303": "var(--rule)",
    "#040401": "var(--series-1)",
    "#040402": "var(--series-2)",
    "#040403": "var(--series-3)",
    "#040404": "var(--series-4)",
    "#040405": "var(--series-5)",
}
INK, FAINT, RULE, *SERIES = INKS
MARKS = ("o", "s", "^", "D", "v")
STYLE: dict[Any, Any] = {
    "svg.fonttype": "none",
    "svg.hashsalt": "facet",
    "font.size": 9,
    "axes.edgecolor": FAINT,
    "axes.labelcolor": INK,
    "axes.spines.right": False,
    "axes.spines.top": False,
    "axes.grid": True,
    "axes.axisbelow": True,
    "grid.color": RULE,
    "grid.linewidth": 0.6,
    "text.color": INK,
    "text.parse_math": False,  # a dollar in the name of a group is a dollar
    "xtick.color": FAINT,
    "ytick.color": FAINT,
    "xtick.labelcolor": INK,
    "ytick.labelcolor": INK,
    "legend.frameon": False,
    "lines.linewidth": 1.6,
    "lines.markersize": 4,
}
LEAST_SHOWN = 1e-4
SHORT = 60.0
"""An axis that spans less has more marks than those of the decades."""


def draw_det(findings: Findings) -> str:
    """FNMR against FMR, with its band, dashed where fewer than thirty false matches stand behind it."""
    with _sheet(5.2, 3.5) as (axes, finish):
        points = findings.det
        rates = [point.fmr for point in points]
        ends = [point.fnmr.ci95 or (point.fnmr.value, point.fnmr.value) for point in points]
        floor = _floor([point.fnmr for point in points])
        low, high = ([max(floor, end[side]) for end in ends] for side in (0, 1))
        axes.fill_between(rates, low, high, color=SERIES[0], alpha=0.18, linewidth=0)
        known = sum(point.resolved for point in points)
        values = [max(floor, point.fnmr.value) for point in points]
        axes.plot(rates[:known], values[:known], color=SERIES[0])
        axes.plot(rates[max(0, known - 1) :], values[max(0, known - 1) :], color=SERIES[0], linestyle=(0, (3, 2)))
        for each in findings.served:
            if each.fmr is not None and each.fnmr is not None and each.fmr.value > 0:
                axes.plot(each.fmr.value, max(floor, each.fnmr.value), "o", color=SERIES[1])
                axes.annotate(
                    _rate(each.asked), (each.fmr.value, max(floor, each.fnmr.value)), (5, 4), textcoords="offset points"
                )
        axes.set(xscale="log", yscale="log", xlabel="FMR observed", ylabel="FNMR")
        axes.set_xlim(min(rates) * 0.8, max(rates) * 1.25)
        axes.set_ylim(floor, 1)
        return finish("DET curve: FNMR against FMR")


def draw_groups(groups: Groups) -> str:
    """FMR and FNMR of each group with intervals; a line stands at the rate asked."""
    shown = groups.groups
    with _sheet(5.2, 0.9 + 0.26 * len(shown), columns=2) as (axes, finish):
        left, right = axes
        for sheet, rates, colour in (
            (left, [each.fmr for each in shown], SERIES[0]),
            (right, [each.fnmr for each in shown], SERIES[1]),
        ):
            floor = _floor([rate for rate in rates if rate is not None])
            for place, rate in enumerate(rates):
                if rate is None:
                    continue
                low, high = rate.ci95 or (rate.value, rate.value)
                sheet.plot([max(floor, low), max(floor, high)], [place, place], color=colour, linewidth=1.2)
                filled = colour if rate.value > 0 else "none"
                sheet.plot(max(floor, rate.value), place, "o", markeredgecolor=colour, markerfacecolor=filled)
            sheet.set(xscale="log", ylim=(len(shown) - 0.5, -0.5))
        left.axvline(groups.asked, color=FAINT, linewidth=1, linestyle=(0, (3, 2)))
        left.set(yticks=range(len(shown)), yticklabels=[each.name for each in shown], xlabel="FMR")
        right.set(yticks=range(len(shown)), yticklabels=[], xlabel="FNMR")
        return finish(f"Error rates by {groups.attribute}")


def draw_discard(curves: Sequence[DiscardCurve]) -> str:
    """FNMR of what remains against the share left out, one line a measure of quality."""
    with _sheet(5.2, 3.5) as (axes, finish):
        for place, curve in enumerate(curves):
            points = [point for point in curve.points if point.comparisons]
            axes.plot(
                [100 * point.share for point in points],
                [100 * (point.rate or 0.0) for point in points],
                color=SERIES[place % len(SERIES)],
                marker=MARKS[place % len(MARKS)],
                label=curve.measure,
            )
        axes.set(xlabel="photographs left out, %", ylabel=f"FNMR of the rest at FMR {_rate(curves[0].asked)}, %")
        axes.set_ylim(bottom=0)
        axes.figure.legend(loc="outside lower center", ncols=3)
        return finish("Error against discard")


def draw_galleries(identification: Identification) -> str:
    """FNIR, FPIR and misses at rank 1 by the size of the gallery."""
    with _sheet(5.2, 3.5) as (axes, finish):
        lines: tuple[tuple[str, list[Estimate | None]], ...] = (
            ("FNIR, as served", [each.fnir for each in identification.galleries]),
            ("FPIR, as served", [each.fpir for each in identification.galleries]),
            ("not at rank 1", [each.rank_one_miss for each in identification.galleries]),
        )
        floor = _floor([rate for _, rates in lines for rate in rates if rate is not None])
        for place, (label, rates) in enumerate(lines):
            held = [
                (each.size, rate)
                for each, rate in zip(identification.galleries, rates, strict=True)
                if rate is not None
            ]
            sizes = [size for size, _ in held]
            ends = [rate.ci95 or (rate.value, rate.value) for _, rate in held]
            low, high = ([max(floor, end[side]) for end in ends] for side in (0, 1))
            colour = SERIES[place]
            axes.fill_between(sizes, low, high, color=colour, alpha=0.14, linewidth=0)
            values = [max(floor, rate.value) for _, rate in held]
            axes.plot(sizes, values, color=colour, marker=MARKS[place], label=label)
        axes.axhline(identification.fpir, color=FAINT, linewidth=1, linestyle=(0, (3, 2)))
        axes.set(xscale="log", yscale="log", xlabel="people in the gallery", ylabel="rate")
        axes.set_ylim(floor, 1.2)
        axes.figure.legend(loc="outside lower center", ncols=3)
        return finish("Identification by gallery size")


def draw_all(findings: Findings) -> dict[str, list[str]]:
    """The figures of each part, by its name: none of a part in which nothing varies."""
    missed = [curve for curve in findings.discard if curve.points[0].errors]
    rates = dict.fromkeys(curve.asked for curve in missed)
    return {
        "det": [draw_det(findings)] if any(point.fnmr.value for point in findings.det) else [],
        "groups": [draw_groups(each) for each in findings.groups],
        "discard": [draw_discard([curve for curve in missed if curve.asked == fmr]) for fmr in rates],
        "identification": [draw_galleries(each) for each in findings.identification if len(each.galleries) > 1],
    }


@contextmanager
def _sheet(width: float, height: float, columns: int = 1) -> Iterator[tuple[Any, Callable[[str], str]]]:
    """A figure in inches, and what makes SVG of it under a title."""
    import matplotlib as mpl  # noqa: PLC0415 - the service itself goes without it
    from matplotlib.figure import Figure  # noqa: PLC0415
    from matplotlib.ticker import FuncFormatter, LogLocator, NullFormatter  # noqa: PLC0415

    with mpl.rc_context(STYLE):
        figure = Figure(figsize=(width, height), layout="constrained")
        axes = figure.subplots(1, columns)

        def finish(title: str) -> str:
            for sheet in figure.axes:
                for axis in (sheet.xaxis, sheet.yaxis):
                    if axis.get_scale() == "log":
                        low, high = axis.get_view_interval()
                        steps = (1.0,) if high / low > SHORT else (1.0, 2.0, 5.0)
                        axis.set_major_locator(LogLocator(subs=steps, numticks=7))
                        axis.set_major_formatter(FuncFormatter(lambda value, _: _rate(value)))
                        axis.set_minor_formatter(NullFormatter())
            buffer = io.StringIO()
            figure.savefig(buffer, format="svg", transparent=True, metadata={"Date": None, "Creator": None})
            return _inline(buffer.getvalue(), title)

        yield axes, finish


def _inline(text: str, title: str) -> str:
    """SVG that can stand in a page: without a head, in the page's colours, without ids that a second one repeats."""
    body = text[text.index("<svg") :]
    body = re.sub(r"<metadata>.*?</metadata>", "", body, flags=re.DOTALL)
    body = re.sub(r'<g id="[^"]*">', "<g>", body)
    body = re.sub(r'(<svg[^>]*?) width="[^"]*"', r"\1", body, count=1)
    body = re.sub(r'(<svg[^>]*?) height="[^"]*"', r"\1", body, count=1)
    body = body.replace("<svg", f'<svg role="img" aria-label="{escape(title)}"', 1)
    for colour, ink in INKS.items():
        body = body.replace(colour, ink)
    return body


def _floor(rates: Sequence[Estimate]) -> float:
    """The lowest rate that a logarithmic axis shows: nothing observed lies on it."""
    ends = [end for rate in rates for end in (rate.value, *(rate.ci95 or ())) if end > 0]
    return max(1e-9, min(ends, default=LEAST_SHOWN) * 0.7)


def _rate(value: float) -> str:
    return f"{value:g}" if value >= 0.01 else f"{value:.0e}".replace("e-0", "e-")
