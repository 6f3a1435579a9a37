"""`facet-train`: one command per step, each of which may be run again."""

from __future__ import annotations

import sys
from collections.abc import Callable
from functools import wraps
from pathlib import Path
from typing import Annotated, ParamSpec, TypeVar

import typer

from service.errors import FacetError
from service.face.registry import Registry
from training.crops import open_sets
from training.embedding import EmbeddingRecipe
from training.errors import RecipeInvalid, TrainingError
from training.fit import fit
from training.prepare import Preparation, describe, prepare
from training.recipe import Roots
from training.targets import compute_targets, targets_path
from training.tasks import kind_of, read_recipe
from training.teachers import open_teacher

P = ParamSpec("P")
T = TypeVar("T")

app = typer.Typer(no_args_is_help=True, add_completion=False, pretty_exceptions_enable=False, help=__doc__)

Data = Annotated[Path, typer.Option(envvar="FACET_TRAIN_DATA", help="Folder of prepared sets.")]
Models = Annotated[Path, typer.Option(envvar="FACET_TRAIN_MODELS", help="Folder of registered models.")]
Runs = Annotated[Path, typer.Option(envvar="FACET_TRAIN_RUNS", help="Folder of runs: checkpoints, targets, logs.")]
DATA, MODELS, RUNS = Path("data/sets"), Path("data/models"), Path("data/runs")


def _plainly(command: Callable[P, T]) -> Callable[P, T]:
    """Turn expected failures into one line and an exit status."""

    @wraps(command)
    def run(*args: P.args, **kwargs: P.kwargs) -> T:
        try:
            return command(*args, **kwargs)
        except (TrainingError, FacetError) as error:
            print(f"{error.code}: {error}", file=sys.stderr)
            raise typer.Exit(1) from error

    return run


@app.command("prepare")
@_plainly
def prepare_command(
    source: Annotated[Path, typer.Argument(help="Folder, .tar, .rec or .bin of photographs or crops.")],
    name: Annotated[str, typer.Argument(help="Name of the set.")],
    data: Data = DATA,
    models: Models = MODELS,
    aligned: Annotated[bool, typer.Option(help="The pictures are aligned crops, 128x128 or 112x112.")] = False,
    detector: Annotated[str, typer.Option(help="Detector in the folder of models.")] = "facet-detector",
    centre: Annotated[bool, typer.Option(help="Take the face nearest to the centre, not the largest.")] = False,
    landmarks: Annotated[bool, typer.Option(help="Find landmarks in aligned crops, too.")] = False,
    smallest: Annotated[float, typer.Option(help="Drop faces with a shorter side than this.")] = 24.0,
    validation: Annotated[float, typer.Option(help="Share of people for validation.")] = 0.05,
    test: Annotated[float, typer.Option(help="Share of people for testing.")] = 0.05,
    workers: int = 2,
) -> None:
    """Cut canonical crops from pictures with the served detector; report what was dropped and why."""
    finder = Registry.scan([models]).detector(detector) if landmarks or not aligned else None
    how = Preparation(
        aligned, "centre" if centre else "largest", smallest, landmarks, validation, test, workers=workers
    )
    print(describe(prepare(source, data / name, how, finder)))


@app.command("targets")
@_plainly
def targets_command(
    recipe: Annotated[Path, typer.Argument(help="Recipe whose teachers are run over its sets.")],
    data: Data = DATA,
    models: Models = MODELS,
    runs: Runs = RUNS,
) -> None:
    """Run a recipe's teachers over its sets once, flipped copies averaged."""

    parsed = read_recipe(recipe)
    if not isinstance(parsed, EmbeddingRecipe):
        raise RecipeInvalid(f"{recipe}: the task {parsed.task} computes no targets beforehand")
    for name, spec in parsed.teachers.items():
        teacher = open_teacher(name, spec, Roots(data, models, runs))
        for crops in open_sets(data, list(parsed.data.sets)):
            values = compute_targets(runs / "targets", teacher.embeds, crops)
            print(
                f"{name} over {crops.name}: {values.shape} in {targets_path(runs / 'targets', teacher.embeds, crops)}"
            )


@app.command("fit")
@_plainly
def fit_command(
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


if __name__ == "__main__":
    app()
