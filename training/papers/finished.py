"""Rows that are trained to their end, kept in the repository, so that nothing is run twice.

A record is what a row's run was and measured: the recipe, digests of the graph, of the sets and of the teachers, and
every measure with its rounds of the bootstrap. A run leaves it beside its checkpoint as `measured.json`; `keep_rows`
brings it into `training/results/papers`.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from training.atomic_folder import write_text
from training.papers.budget import Budget, cut
from training.papers.rows import ROWS, TEACHER
from training.recipe import Recipe

KEPT = Path(__file__).parents[1] / "results" / "papers"
EARLY = KEPT.with_name("papers-early.json")
"""Results of a budget of 300 steps, shown for rows that are not at their end."""
REPORT = "measured.json"
ENSEMBLE = "ensemble.json"
KEPT_ENSEMBLE = KEPT.with_name("papers-ensemble.json")


def read_record(path: Path, recipe: Recipe, rounds: int) -> dict[str, Any] | None:
    """Read what was measured before, if it was with this very recipe and bootstrap."""
    if not path.is_file():
        return None
    record: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
    return record if recipe.matches_text(json.dumps(record["recipe"])) and record["rounds"] == rounds else None


def write_record(path: Path, record: Mapping[str, Any]) -> None:
    """Write a record, one line for each of its entries and measures."""
    plain = {name: value for name, value in record.items() if name != "measures"}
    lines = [f"  {json.dumps(name)}: {json.dumps(value)}" for name, value in plain.items()]
    measures = [f"    {json.dumps(name)}: {json.dumps(values)}" for name, values in record["measures"].items()]
    text = ",\n".join([*lines, '  "measures": {\n' + ",\n".join(measures) + "\n  }"])
    write_text(path, "{\n" + text + "\n}\n")


def keep_rows(budget: Budget, runs: Path, into: Path = KEPT) -> list[Path]:
    """Copy the records of this budget's finished rows below `runs`, and of the ensemble beside them.

    Returns those that are new or have changed.
    """
    written = _keep_ensemble(runs / ENSEMBLE, into.with_name(KEPT_ENSEMBLE.name))
    for seed in range(budget.seeds):
        for row in ROWS:
            if row.recipe == TEACHER and seed:
                continue
            recipe = cut(row.recipe, budget, seed)
            record = read_record(runs / recipe.name / REPORT, recipe, budget.rounds)
            target = into / f"{recipe.name}.json"
            if record is not None and read_record(target, recipe, budget.rounds) != record:
                write_record(target, record)
                written.append(target)
    return written


def _keep_ensemble(source: Path, target: Path) -> list[Path]:
    if not source.is_file():
        return []
    text = source.read_text(encoding="utf-8")
    if target.is_file() and target.read_text(encoding="utf-8") == text:
        return []
    write_text(target, text)
    return [target]


def read_early() -> dict[str, Any]:
    """The results that rows show until they are at their end."""
    early: dict[str, Any] = json.loads(EARLY.read_text(encoding="utf-8"))
    return early
