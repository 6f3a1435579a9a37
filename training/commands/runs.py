"""`fit`: from a recipe to a run; and `pace`: how fast it goes."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path
from typing import Annotated

import typer

from training.backbones.weights import KEPT, keep
from training.commands.folders import DATA, MODELS, RUNS, Data, Models, Runs
from training.engine.fit import fit
from training.engine.throughput import compare_paces, measure_pace
from training.recipe import Roots, replace_values
from training.tasks.confidence import fit_confidence
from training.tasks.registry import kind_of, read_recipe


def fit_recipe(
    recipe: Annotated[Path, typer.Argument(help="What to train, and how.")],
    data: Data = DATA,
    models: Models = MODELS,
    runs: Runs = RUNS,
    accelerator: Annotated[str, typer.Option(help="cpu, cuda or auto.")] = "auto",
    until: Annotated[int | None, typer.Option(min=0, help="Stop after this many steps; run again to go on.")] = None,
) -> None:
    """Train a recipe, or go on where an earlier call stopped. Several devices: `torchrun -m training.cli fit ...`."""
    parsed = read_recipe(recipe)
    print(fit(parsed, kind_of(parsed.task), Roots(data, models, runs), accelerator=accelerator, until=until))


def confidence(
    run: Annotated[str, typer.Argument(help="A finished run whose student regresses a teacher.")],
    crops: Annotated[
        int, typer.Option(min=20, help="Crops to learn from; a tenth of them is kept to measure on.")
    ] = 6000,
    data: Data = DATA,
    models: Models = MODELS,
    runs: Runs = RUNS,
) -> None:
    """Teach a run's student a second output: how near its embedding is to its teacher's of the clean crop."""
    for name, value in asdict(fit_confidence(runs / run, Roots(data, models, runs), crops=crops)).items():
        print(f"{name:<20} {value:.3f}" if isinstance(value, float) else f"{name:<20} {value}")


def keep_weights(
    run: Annotated[str, typer.Argument(help="A run, finished or not.")],
    into: Annotated[Path | None, typer.Option(help="Folder to write. Default: training/weights/<run>.")] = None,
    runs: Runs = RUNS,
) -> None:
    """Keep a run's best weights with its recipe, so that a recipe anywhere can begin from them (`init: weights`)."""
    print(keep(runs / run, into or KEPT / run))


def pace(
    recipe: Annotated[Path, typer.Argument(help="What would be trained.")],
    steps: Annotated[int, typer.Option(min=1, help="Steps in a turn.")] = 20,
    turns: Annotated[int, typer.Option(min=1, help="How often both take their turn.")] = 5,
    against: Annotated[
        list[str] | None, typer.Option(help="A key of the recipe with another value, schedule.batch=32; repeatable.")
    ] = None,
    data: Data = DATA,
    models: Models = MODELS,
    runs: Runs = RUNS,
    accelerator: Annotated[str, typer.Option(help="cpu or cuda.")] = "cpu",
) -> None:
    """Time the steps of a recipe beside the bare network's forward and backward pass, in turns. Keeps no run.

    With `--against`, beside the steps of the same recipe with other values instead.
    """
    parsed, roots = read_recipe(recipe), Roots(data, models, runs)
    kind = kind_of(parsed.task)
    if against:
        other = replace_values(parsed, kind.recipe, against)
        faster = compare_paces(parsed, other, kind, roots, steps=steps, turns=turns, accelerator=accelerator)
        print(
            f"{faster.now:.1f} images a second of processor time, {faster.other:.1f} with {', '.join(against)}: "
            f"{faster.ratio:.2f} times as fast"
        )
        return
    pace = measure_pace(parsed, kind, roots, steps=steps, turns=turns, accelerator=accelerator)
    print(f"{pace.loop:.1f} images/s in the loop, {pace.bare:.1f} bare: {pace.ratio:.1%}")
    print(f"{pace.data_wait:.1%} of the loop's time spent waiting for data")
