"""`fit`: from a recipe to a run."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from training.commands.folders import DATA, MODELS, RUNS, Data, Models, Runs
from training.fit import fit
from training.recipe import Roots
from training.tasks import kind_of, read_recipe


def fit_recipe(
    recipe: Annotated[Path, typer.Argument(help="What to train, and how.")],
    data: Data = DATA,
    models: Models = MODELS,
    runs: Runs = RUNS,
    accelerator: Annotated[str, typer.Option(help="cpu, cuda or auto.")] = "auto",
    until: Annotated[int | None, typer.Option(help="Stop after this many steps; run again to go on.")] = None,
) -> None:
    """Train a recipe, or go on where an earlier call stopped. Several devices: `torchrun -m training.cli fit ...`."""

    parsed = read_recipe(recipe)
    print(fit(parsed, kind_of(parsed.task), Roots(data, models, runs), accelerator=accelerator, until=until))
