"""`prepare`, `targets` and `neurons`: from pictures to what a run reads."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from training.commands.folders import DATA, MODELS, RUNS, Data, Models, Runs
from training.data.crops import open_set, open_sets
from training.data.prepare import Preparation, describe, prepare
from training.distillation.teacher_targets import compute_targets, targets_path
from training.distillation.teachers import open_teacher
from training.errors import RecipeInvalid, SetInvalid
from training.evaluation.vectors import open_detector
from training.recipe import Roots
from training.tasks.embedding import EmbeddingRecipe
from training.tasks.neuron_selection import choose_neurons
from training.tasks.registry import read_recipe


def prepare_set(
    source: Annotated[Path, typer.Argument(help="Folder, .tar, .rec or .bin of photographs or crops.")],
    name: Annotated[str, typer.Argument(help="Name of the set.")],
    data: Data = DATA,
    models: Models = MODELS,
    runs: Runs = RUNS,
    aligned: Annotated[bool, typer.Option(help="The pictures are aligned crops, 128x128 or 112x112.")] = False,
    detector: Annotated[str | None, typer.Option(help="Detector; default: the bundled one.")] = None,
    centre: Annotated[bool, typer.Option(help="Take the face nearest to the centre, not the largest.")] = False,
    landmarks: Annotated[bool, typer.Option(help="Find landmarks in aligned crops, too.")] = False,
    smallest: Annotated[float, typer.Option(help="Drop faces with a shorter side than this.")] = 24.0,
    most: Annotated[int | None, typer.Option(help="Keep so many crops of one person at most.")] = None,
    validation: Annotated[float, typer.Option(help="Share of people for validation.")] = 0.05,
    test: Annotated[float, typer.Option(help="Share of people for testing.")] = 0.05,
    workers: Annotated[int, typer.Option(min=1, help="Pictures read at once.")] = 2,
) -> None:
    """Cut canonical crops from pictures with the served detector; report what was dropped and why."""
    if aligned and (centre or (detector is not None and not landmarks)):
        raise SetInvalid("of aligned crops no face is chosen: leave out --centre, and --detector without --landmarks")
    roots = Roots(data, models, runs)
    finder = open_detector(detector, roots) if landmarks or not aligned else None
    how = Preparation(
        aligned, "centre" if centre else "largest", smallest, landmarks, most, validation, test, workers=workers
    )
    print(describe(prepare(source, data / name, how, finder)))


def targets(
    recipe: Annotated[Path, typer.Argument(help="Recipe whose teachers are run over its sets.")],
    data: Data = DATA,
    models: Models = MODELS,
    runs: Runs = RUNS,
) -> None:
    """Run a recipe's teachers over its sets once, flipped copies averaged."""
    parsed = _embedding_recipe(recipe)
    for name, spec in parsed.teachers.items():
        teacher = open_teacher(name, spec, Roots(data, models, runs))
        for crops in open_sets(data, list(parsed.data.sets)):
            values = compute_targets(runs / "targets", teacher.embeds, crops)
            print(
                f"{name} over {crops.name}: {values.shape} in {targets_path(runs / 'targets', teacher.embeds, crops)}"
            )


def neurons(
    recipe: Annotated[Path, typer.Argument(help="Recipe with a `select` target.")],
    crops: Annotated[str, typer.Argument(help="Prepared set with CelebA's attributes.")],
    balance: Annotated[float, typer.Option(help="Weight against neurons that say the same.")] = 0.01,
    data: Data = DATA,
    models: Models = MODELS,
    runs: Runs = RUNS,
) -> None:
    """Choose the neurons of a recipe's teachers by MobileID's mean field; writes the file that the recipe names."""
    roots = Roots(data, models, runs)
    for chosen in choose_neurons(_embedding_recipe(recipe), open_set(data / crops), roots, balance):
        print(f"{chosen.count} of {chosen.total} neurons, {chosen.shares}, in {chosen.path}")


def _embedding_recipe(path: Path) -> EmbeddingRecipe:
    parsed = read_recipe(path)
    if not isinstance(parsed, EmbeddingRecipe):
        raise RecipeInvalid(f"{path}: the task {parsed.task} has no teachers of embeddings")
    return parsed
