"""`ablations`: what each lever of a recipe is worth, one changed at a time."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from training.ablations.levers import LEVERS
from training.ablations.measure import Sets
from training.ablations.row import KEPT, make_row, read_record, record_path, run_row
from training.ablations.table import describe_rows
from training.commands.folders import DATA, MODELS, RUNS, Data, Models, Runs
from training.data.crops import open_set
from training.recipe import Roots
from training.tasks.registry import read_recipe


def ablations(
    recipe: Annotated[Path, typer.Argument(help="The recipe whose levers are changed.")],
    steps: Annotated[int, typer.Option(help="Steps of every row.")] = 100,
    lever: Annotated[list[str] | None, typer.Option(help="A lever by name; repeatable. Default: all.")] = None,
    people: Annotated[str, typer.Option(help="Labelled prepared set, all for testing.")] = "lfw-view1",
    turned: Annotated[str, typer.Option(help="Labelled prepared set with turned faces; held-out splits.")] = "pins",
    portraits: Annotated[str, typer.Option(help="Labelled prepared set of portraits; held-out splits.")] = "celeba",
    results: Annotated[Path, typer.Option(help="Folder of finished rows.")] = KEPT,
    train: Annotated[bool, typer.Option(help="--no-train: print the table of what is finished.")] = True,
    data: Data = DATA,
    models: Models = MODELS,
    runs: Runs = RUNS,
) -> None:
    """Train the recipe as it is and with one lever changed at a time, measure, and print the table. Goes on."""
    parsed = read_recipe(recipe)
    rows = [make_row(parsed, name, steps) for name in lever or LEVERS]
    if train:
        roots = Roots(data, models, runs / f"ablations-{steps}")
        sets = Sets(open_set(data / people), open_set(data / turned), open_set(data / portraits))
        for row in rows:
            record = run_row(row, roots, sets, results)
            print("  ".join([f"{row.lever:16}", *(f"{k} {v:.4f}" for k, v in record["measures"].items())]), flush=True)
    finished = [read_record(record_path(row, results), row) for row in rows]
    print(describe_rows([record for record in finished if record is not None]))
