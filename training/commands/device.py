"""`device-pack` and `device-accept`: what travels to a lent accelerator, and what comes back."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from training.commands.folders import DATA, MODELS, RUNS, Data, Models, Runs
from training.device.accept import accept
from training.device.pack import write_pack
from training.errors import RecipeInvalid
from training.recipe import Roots
from training.tasks.embedding import EmbeddingRecipe
from training.tasks.registry import read_recipe


def device_pack(
    recipe: Annotated[Path, typer.Argument(help="Recipe of an embedder that one teacher teaches.")],
    out: Annotated[Path, typer.Argument(help="Folder to write the pack into.")],
    part_mib: Annotated[float, typer.Option(help="Largest size of a part.")] = 60.0,
    data: Data = DATA,
    models: Models = MODELS,
    runs: Runs = RUNS,
) -> None:
    """Pack a recipe's crops, targets and first weights to train elsewhere, by `python -m training.device.fit_pack`."""
    parsed = read_recipe(recipe)
    if not isinstance(parsed, EmbeddingRecipe):
        raise RecipeInvalid(f"{recipe}: a pack is made of a recipe of the embedding task")
    print(f"{write_pack(parsed, Roots(data, models, runs), out, part_mib=part_mib)} parts in {out}")


def device_accept(
    pack: Annotated[Path, typer.Argument(help="The pack that was trained.")],
    back: Annotated[Path, typer.Argument(help="Folder with student.npz and fit.json that came back.")],
    data: Data = DATA,
    models: Models = MODELS,
    runs: Runs = RUNS,
) -> None:
    """Make what came back from a device a run, to be exported and published."""
    print(accept(pack, back, Roots(data, models, runs)))
