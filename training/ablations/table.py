"""The table of a recipe's ablations: every row's error rates, and how far they are from the recipe as it is."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from training.ablations.levers import BASE, LEVERS

COLUMNS = {
    "fnmr-1e-3": "View 1, FMR 1e-3",
    "fnmr-1e-4": "View 1, FMR 1e-4",
    "masked": "View 1, masked",
    "turned": "turned portraits",
    "portraits": "CelebA",
}


def describe_rows(records: Sequence[Mapping[str, Any]]) -> str:
    """A Markdown table of FNMR in per cent, with the difference from the base row in brackets, where there is one."""
    base: dict[str, float] = next((record["measures"] for record in records if record["lever"] == BASE), {})
    lines = ["| one lever | " + " | ".join(COLUMNS.values()) + " |", "|---|" + "---|" * len(COLUMNS)]
    for record in records:
        cells = []
        for name in COLUMNS:
            value = record["measures"][name]
            apart = f" ({100 * (value - base[name]):+.2f})" if base and record["lever"] != BASE else ""
            cells.append(f"{100 * value:.2f}{apart}")
        lines.append(f"| {LEVERS[record['lever']].what} | " + " | ".join(cells) + " |")
    return "\n".join(lines)
