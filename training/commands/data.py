"""`prepare`, `targets` and `neurons`: from pictures to what a run reads."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Annotated

import numpy as np
import typer

from training.artefact import write_json
from training.commands.folders import DATA, MODELS, RUNS, Data, Models, Runs
from training.crops import open_set, open_sets
from training.embedding import EmbeddingRecipe
from training.errors import RecipeInvalid, SetInvalid
from training.network import build_student
from training.neurons import IDENTITY, describe_neurons, select_neurons
from training.prepare import Preparation, describe, prepare
from training.recipe import Roots
from training.targets import compute_targets, targets_path
from training.tasks import read_recipe
from training.teachers import Teacher, open_teacher
from training.terms.targets import Concat
from training.vectors import open_detector


def prepare_set(
    source: Annotated[Path, typer.Argument(help="Folder, .tar, .rec or .bin of photographs or crops.")],
    name: Annotated[str, typer.Argument(help="Name of the set.")],
    data: Data = DATA,
    models: Models = MODELS,
    aligned: Annotated[bool, typer.Option(help="The pictures are aligned crops, 128x128 or 112x112.")] = False,
    detector: Annotated[str | None, typer.Option(help="Detector; default: the bundled one.")] = None,
    centre: Annotated[bool, typer.Option(help="Take the face nearest to the centre, not the largest.")] = False,
    landmarks: Annotated[bool, typer.Option(help="Find landmarks in aligned crops, too.")] = False,
    smallest: Annotated[float, typer.Option(help="Drop faces with a shorter side than this.")] = 24.0,
    validation: Annotated[float, typer.Option(help="Share of people for validation.")] = 0.05,
    test: Annotated[float, typer.Option(help="Share of people for testing.")] = 0.05,
    workers: int = 2,
) -> None:
    """Cut canonical crops from pictures with the served detector; report what was dropped and why."""
    roots = Roots(data, models, RUNS)
    finder = open_detector(detector, roots) if landmarks or not aligned else None
    how = Preparation(
        aligned, "centre" if centre else "largest", smallest, landmarks, validation, test, workers=workers
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
    roots, parsed = Roots(data, models, runs), _embedding_recipe(recipe)
    people = open_set(data / crops)
    if people.attributes is None or not set(people.attribute_names) >= IDENTITY:
        raise SetInvalid(f"{crops} does not carry CelebA's attributes: prepare it with its attributes.csv")
    identity = np.array([name in IDENTITY for name in people.attribute_names])
    for term in parsed.terms:
        if not isinstance(term.target, Concat) or term.target.select is None:
            continue
        teachers = [open_teacher(name, parsed.teachers[name], roots) for name in term.target.teachers]
        outputs = [compute_targets(runs / "targets", teacher.embeds, people) for teacher in teachers]
        described = describe_neurons(np.concatenate(outputs, axis=1), people.attributes)
        width = build_student(parsed.student, parsed.input).dim
        chosen = select_neurons(described, identity, width, balance=balance)
        shares = {t.name: sum(lo <= i < lo + t.embeds.dim for i in chosen.neurons) for t, lo in _offsets(teachers)}
        path = runs / term.target.select
        write_json(path, {"neurons": chosen.neurons, "of": shares, "digest": people.digest, "balance": balance})
        print(f"{len(chosen.neurons)} of {len(described)} neurons, {shares}, in {path}")


def _offsets(teachers: Sequence[Teacher]) -> Iterator[tuple[Teacher, int]]:
    start = 0
    for teacher in teachers:
        yield teacher, start
        start += teacher.embeds.dim


def _embedding_recipe(path: Path) -> EmbeddingRecipe:
    parsed = read_recipe(path)
    if not isinstance(parsed, EmbeddingRecipe):
        raise RecipeInvalid(f"{path}: the task {parsed.task} has no teachers of embeddings")
    return parsed
