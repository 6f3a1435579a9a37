"""`papers` and its parts: the methods of the papers under one budget, and the page that says what came of it."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Annotated, Any

import typer

from training.atomic_folder import write_json
from training.commands.folders import DATA, MODELS, RUNS, Data, Models, Runs
from training.data.crops import CropSet, open_set
from training.errors import ProtocolInvalid, RecipeInvalid
from training.evaluation.vectors import open_detector
from training.papers.budget import BUDGETS, Budget, run_name
from training.papers.finished import KEPT, keep_rows, read_early
from training.papers.measures.benchmark import Benchmark, prepare_benchmark
from training.papers.measures.ensemble import measure_ensemble
from training.papers.measures.jitter import measure_jitter
from training.papers.page import write_page
from training.papers.plot import draw_points
from training.papers.results import assemble
from training.papers.rows import ROWS
from training.papers.run import RowRun, describe_data, run_row, run_rows
from training.papers.timing import time_networks
from training.recipe import Roots

DOCS = Path("docs")


def papers(
    view1: Annotated[Path, typer.Option(help="LFW with pairsDevTrain.txt and pairsDevTest.txt.")],
    budget: Annotated[str, typer.Option(help="small (minutes) or real (the table).")] = "real",
    steps: Annotated[int | None, typer.Option(help="Steps of every row; the number to raise on a GPU.")] = None,
    seeds: Annotated[int | None, typer.Option(help="Seeds of every row.")] = None,
    people: Annotated[str, typer.Option(help="Prepared CelebA, with landmarks and attributes.")] = "celeba",
    turned: Annotated[str, typer.Option(help="Prepared set of few people in many poses.")] = "pins",
    detector: Annotated[str | None, typer.Option(help="Detector for LFW; default: the bundled one.")] = None,
    train: Annotated[bool, typer.Option(help="--no-train: write down what there is, and train nothing.")] = True,
    out: Annotated[Path, typer.Option(help="Folder for papers.json, papers.md and the plot.")] = DOCS,
    data: Data = DATA,
    models: Models = MODELS,
    runs: Runs = RUNS,
) -> None:
    """Run every method of the papers beside its control; write table and plot. Call it again to go on."""
    chosen = _budget(budget, steps, seeds)
    roots = _rooted(chosen, data, models, runs)
    celeba = open_set(data / people)
    benchmark = _prepare(chosen, view1, celeba, open_set(data / turned), detector, roots, runs)
    row_runs: list[RowRun] = []
    for row_run in run_rows(chosen, roots, celeba, benchmark, train=train):
        row_runs.append(row_run)
        print(describe(row_run), flush=True)
    ensemble = measure_ensemble(chosen, roots, benchmark)
    jitter = measure_jitter(benchmark, celeba, roots, runs / "crops")
    times = time_networks(row_runs, chosen.turns, ensemble.graphs if ensemble is not None else None)
    described = describe_data(row_runs, benchmark, jitter)
    results = assemble(chosen, described, row_runs, times, read_early(), ensemble)
    write_json(out / "papers.json", results)
    for path in (write_page(results, out), *draw_points(results, out)):
        print(path)


def papers_row(
    row: Annotated[str, typer.Argument(help="A recipe of the papers: karlekar-kt, say.")],
    view1: Annotated[Path, typer.Option(help="LFW with pairsDevTrain.txt and pairsDevTest.txt.")],
    seed: Annotated[int, typer.Option(help="Its seed, from 0.")] = 0,
    budget: Annotated[str, typer.Option(help="small (minutes) or real (the table).")] = "real",
    steps: Annotated[int | None, typer.Option(help="Steps; another number is another comparison.")] = None,
    people: Annotated[str, typer.Option(help="Prepared CelebA, with landmarks and attributes.")] = "celeba",
    turned: Annotated[str, typer.Option(help="Prepared set of few people in many poses.")] = "pins",
    detector: Annotated[str | None, typer.Option(help="Detector for LFW; default: the bundled one.")] = None,
    data: Data = DATA,
    models: Models = MODELS,
    runs: Runs = RUNS,
) -> None:
    """Train one row with one seed to its end and measure it, or go on. What it starts from comes before it."""
    chosen = _budget(budget, steps)
    wanted = next((each for each in ROWS if each.recipe == row), None)
    if wanted is None:
        raise RecipeInvalid(f"no row {row!r}; known: {', '.join(each.recipe for each in ROWS)}")
    roots = _rooted(chosen, data, models, runs)
    celeba = open_set(data / people)
    benchmark = _prepare(chosen, view1, celeba, open_set(data / turned), detector, roots, runs)
    print(describe(run_row(wanted, seed, chosen, roots, celeba, benchmark)))


def papers_keep(
    runs: Runs = RUNS,
    budget: Annotated[str, typer.Option(help="small or real.")] = "real",
    into: Annotated[Path, typer.Option(help="Folder of kept rows.")] = KEPT,
) -> None:
    """Bring the records of rows that are finished into the repository, so that nobody runs them again."""
    chosen = _budget(budget)
    for path in keep_rows(chosen, _rooted(chosen, runs, runs, runs).runs, into):
        print(path)


def papers_table(
    results: Annotated[Path, typer.Argument(help="papers.json, as `papers` wrote it.")],
    out: Annotated[Path | None, typer.Option(help="Folder to write to; default: beside the results.")] = None,
) -> None:
    """Write the page and the plot again from the results, without the runs."""
    folder = out or results.parent
    try:
        values: dict[str, Any] = json.loads(results.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise ProtocolInvalid(f"{results}: {error}") from error
    for path in (write_page(values, folder), *draw_points(values, folder)):
        print(path)


def describe(row_run: RowRun) -> str:
    """One line for one row and seed."""
    measures = row_run.measures or {}
    numbers = "  ".join(f"{name} {values[0]:.3f}" for name, values in measures.items())
    return f"{run_name(row_run.row.recipe, row_run.seed):28} {numbers or f'not run: {row_run.reason}'}"


def _budget(name: str, steps: int | None = None, seeds: int | None = None) -> Budget:
    """A budget by its name, with other steps and seeds where they are given."""
    if name not in BUDGETS:
        raise RecipeInvalid(f"no budget {name!r}; known: {', '.join(BUDGETS)}")
    known = BUDGETS[name]
    return replace(known, steps=steps or known.steps, seeds=seeds or known.seeds)


def _prepare(
    budget: Budget, view1: Path, celeba: CropSet, turned: CropSet, detector: str | None, roots: Roots, runs: Path
) -> Benchmark:
    """Crops of every length of training lie in one folder: they differ in nothing."""
    return prepare_benchmark(view1, celeba, turned, open_detector(detector, roots), runs / "crops", budget.rounds)


def _rooted(budget: Budget, data: Path, models: Path, runs: Path) -> Roots:
    """Another length is another comparison, in a folder of its own."""
    return Roots(data, models, runs / f"papers-{budget.steps}x{budget.batch}")
