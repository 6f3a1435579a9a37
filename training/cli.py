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
from training.artefact import write_json
from training.crops import open_set, open_sets
from training.embedding import EmbeddingRecipe
from training.errors import ProtocolInvalid, RecipeInvalid, TrainingError
from training.evaluate import Bench, evaluate_pairs, evaluate_templates, evaluate_view1
from training.fit import fit
from training.openset import evaluate_openset
from training.plots import plot
from training.prepare import Preparation, describe, prepare
from training.protocols import find_templates, read_lfw_view1, read_lfw_view2, read_pack
from training.recipe import Roots
from training.report import Report, table
from training.subgroups import evaluate_groups
from training.targets import compute_targets, targets_path
from training.tasks import kind_of, read_recipe
from training.teachers import open_teacher
from training.vectors import open_detector, open_model

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


@app.command("evaluate")
@_plainly
def evaluate_command(
    model: Annotated[
        list[str], typer.Argument(help="Model folders, registered names, run:<name> for a run, or dlib; one or more.")
    ],
    lfw: Annotated[Path | None, typer.Option(help="LFW with pairs.txt: View 2.")] = None,
    pairs: Annotated[Path | None, typer.Option(help="pairs.txt, where it does not lie in or beside --lfw.")] = None,
    view1: Annotated[Path | None, typer.Option(help="LFW with pairsDevTrain.txt and pairsDevTest.txt: View 1.")] = None,
    pack: Annotated[list[Path] | None, typer.Option("--bin", help="A .bin pack of aligned crops; repeatable.")] = None,
    ijb: Annotated[Path | None, typer.Option(help="IJB-style folder with meta/ and loose_crop/.")] = None,
    openset: Annotated[str | None, typer.Option(help="Labelled prepared set for open-set identification.")] = None,
    distractors: Annotated[str | None, typer.Option(help="Prepared set of distractors for --openset.")] = None,
    groups: Annotated[str | None, typer.Option(help="Prepared set with UTKFace's labels: FMR by subgroup.")] = None,
    group_fmr: Annotated[float, typer.Option(help="Overall FMR at which subgroups are compared.")] = 1e-3,
    reference: Annotated[str | None, typer.Option(help="Enrol with this model, probe with the others.")] = None,
    detector: Annotated[str | None, typer.Option(help="Detector; default: the bundled one.")] = None,
    out: Annotated[Path | None, typer.Option(help="Folder for report.json and plots.")] = None,
    flip: Annotated[bool, typer.Option(help="Average with the mirror image (serving does not).")] = False,
    threads: int = 1,
    data: Data = DATA,
    models: Models = MODELS,
    runs: Runs = RUNS,
) -> None:
    """Measure models under published protocols through the served code; print a table, write JSON and plots."""
    roots = Roots(data, models, runs)
    opened = [open_model(name, roots, threads) for name in model]
    enrolled = open_model(reference, roots, threads) if reference is not None else None
    bench = Bench(open_detector(detector, roots), runs / "crops", flip=flip)
    reports: list[Report] = []
    texts: list[str] = []
    for each in opened:
        if view1 is not None:
            train, test = read_lfw_view1(view1, "Train"), read_lfw_view1(view1, "Test")
            reports.append(evaluate_view1(bench, train, test, each, enrolled))
        if lfw is not None:
            reports.append(evaluate_pairs(bench, read_lfw_view2(lfw, pairs), each, enrolled))
        reports += [evaluate_pairs(bench, read_pack(path), each, enrolled) for path in pack or ()]
        if ijb is not None:
            reports.append(evaluate_templates(bench, find_templates(ijb), each))
        if openset is not None:
            others = open_set(data / distractors).crops if distractors is not None else None
            reports.append(evaluate_openset(openset, open_set(data / openset), others, each))
        if groups is not None:
            reports.append(report := evaluate_groups(groups, open_set(data / groups), group_fmr, each))
            texts.append(str(report.details["table"]))
    if not reports:
        raise ProtocolInvalid("nothing to evaluate on: give --lfw, --view1, --bin, --ijb, --openset or --groups")
    print("\n\n".join([table(reports), *texts]))
    if out is not None:
        write_json(out / "report.json", [report.as_json() for report in reports])
        for path in plot(reports, out):
            print(path)


if __name__ == "__main__":
    app()
