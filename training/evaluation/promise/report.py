"""What `facet-train promise` prints and draws."""

from __future__ import annotations

from pathlib import Path

from matplotlib.figure import Figure

from training.evaluation.plots import save
from training.evaluation.promise.promise import Kept, Promise


def describe_promise(promise: Promise) -> str:
    """A Markdown table: a line a kind, observed / asked with its interval at each rate, FNMR, share turned away."""
    rates = sorted({each.asked for each in promise.kept}, reverse=True)
    kinds: dict[str, dict[float, Kept]] = {}
    for each in promise.kept:
        kinds.setdefault(each.kind, {})[each.asked] = each
    heads = [f"FMR {rate:g}: observed / asked | FNMR" for rate in rates]
    lines = [
        "| kind | pictures | turned away | " + " | ".join(heads) + " |",
        "|---|---|---|" + "---|---|" * len(rates),
    ]
    for name, by_rate in kinds.items():
        first = next(iter(by_rate.values()))
        cells = " | ".join(f"{_ratio(by_rate[rate])} | {_share(by_rate[rate].fnmr)}" for rate in rates)
        lines.append(f"| {name} | {first.pictures} | {first.refused:.1%} | {cells} |")
    lines.append("")
    for rate in rates:
        worst, spoiled = promise.worst(rate, damage=False), promise.worst(rate, damage=True)
        line = f"At {rate:g}: worst {worst.ratio:.2g} ({worst.kind})" if worst else f"At {rate:g}:"
        line += f", geometric mean {promise.middle(rate):.2g}"
        lines.append(line + (f"; of damaged pictures worst {spoiled.ratio:.2g} ({spoiled.kind})." if spoiled else "."))
    broken = promise.broken()
    if broken:
        names = ", ".join(f"{each.kind} at {each.asked:g}" for each in broken)
        lines.append(f"Broken, more than {promise.tolerance:g} times the rate asked: {names}.")
    return "\n".join(lines) + "\n"


def plot_promise(promise: Promise, folder: Path) -> list[Path]:
    """Write `promise-<model>` as .png and .svg: a line a kind, its interval, and the rate asked."""
    rates = sorted({each.asked for each in promise.kept}, reverse=True)
    names = list(dict.fromkeys(each.kind for each in promise.kept))
    figure = Figure(figsize=(8, 1.5 + 0.24 * len(names)), layout="constrained")
    axes = figure.subplots()
    for shift, rate in enumerate(rates):
        mine = [each for each in promise.kept if each.asked == rate]
        heights = [len(names) - 1 - names.index(each.kind) - 0.18 * shift for each in mine]
        floor = [max(each.ratio, 1e-2) for each in mine]
        bars = [
            [value - max(min(each.ci95[0], value), 1e-2) for each, value in zip(mine, floor, strict=True)],
            [max(each.ci95[1] - value, 0) for each, value in zip(mine, floor, strict=True)],
        ]
        axes.errorbar(floor, heights, xerr=bars, fmt="o", markersize=4, capsize=2, label=f"FMR {rate:g}")
    axes.axvline(1, color="black", linewidth=1)
    axes.axvline(promise.tolerance, color="grey", linewidth=1, linestyle="--")
    axes.set(xscale="log", xlabel="false match rate, observed / asked", yticks=range(len(names)))
    axes.set_yticklabels(names[::-1])
    axes.set_title(promise.model)
    axes.grid(visible=True, axis="x", alpha=0.3)
    axes.legend()
    return save(figure, folder, f"promise-{promise.model.split('@')[0]}")


def _ratio(kept: Kept) -> str:
    if not kept.impostors:
        return "-"
    low, high = kept.ci95
    return f"{kept.ratio:.2g} ({low:.2g} .. {high:.2g})" + ("" if kept.resolved else " *")


def _share(value: float | None) -> str:
    return "-" if value is None else f"{value:.1%}"
