"""Every row with every seed: trained, exported, measured. What is done stays, so a call may be killed at any time."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from service.errors import FacetError
from service.face.manifest import InputSpec
from training.atomic_folder import digest_file, write_json
from training.data.crops import CropSet
from training.distillation.terms.targets import Concat
from training.engine.checkpoint import FILE, load_checkpoint
from training.engine.fit import fit
from training.errors import TrainingError
from training.evaluation.onnx_network import OnnxNet
from training.export.cost import count
from training.export.graphs import write_fp32
from training.papers.benchmark import Benchmark, measure_points, point, recognise
from training.papers.budget import Budget, cut, run_name
from training.papers.rows import ROWS, TEACHER, Row
from training.recipe import Recipe, Roots
from training.tasks.embedding import EmbeddingRecipe
from training.tasks.landmarks import LandmarkRecipe
from training.tasks.neuron_selection import choose_neurons
from training.tasks.registry import kind_of

BALANCE = 0.01


@dataclass(frozen=True, slots=True)
class RowRun:
    """One row with one seed. `reason` says why there is nothing to see; else the graph lies at `graph`.

    `net` names the network and its input, so that rows that share one are timed once.
    """

    row: Row
    seed: int
    reason: str = ""
    graph: Path | None = None
    net: str = ""
    parameters: int = 0
    multiply_adds: int = 0
    measures: dict[str, NDArray[np.float64]] | None = None


def run_rows(
    budget: Budget,
    roots: Roots,
    people: CropSet,
    benchmark: Benchmark,
    *,
    costly: bool = False,
    train: bool = True,
    progress: bool = True,
) -> Iterator[RowRun]:
    """Run all rows with the first seed, then all with the next. A row that cannot run says why, and others go on.

    With `train` false, only what was measured before is looked at.
    """
    for seed in range(budget.seeds):
        for row in ROWS:
            if row.recipe == TEACHER and seed:
                continue
            if row.costly and not costly:
                yield RowRun(row, seed, row.costly)
                continue
            try:
                yield _run_row(row, seed, budget, roots, people, benchmark, train, progress)
            except (TrainingError, FacetError) as error:
                yield RowRun(row, seed, f"{error.code}: {error}")


def _run_row(
    row: Row,
    seed: int,
    budget: Budget,
    roots: Roots,
    people: CropSet,
    benchmark: Benchmark,
    train: bool,
    progress: bool,
) -> RowRun:
    recipe = cut(row.recipe, budget, seed)
    assert isinstance(recipe, EmbeddingRecipe)
    folder, kind = roots.runs / recipe.name, kind_of(recipe.task)
    graph, report = folder / "fp32.onnx", folder / "measured.json"
    record = _read(report, recipe, budget.rounds)
    if record is None and not train:
        return RowRun(row, seed, "not reached in the time there was; the command goes on from here")
    if record is None:
        if any(isinstance(t.target, Concat) and not _listed(t.target, roots) for t in recipe.terms):
            choose_neurons(recipe, people, roots, BALANCE)
        fit(recipe, kind, roots, progress=progress)
        exported = kind.restore(recipe, load_checkpoint(folder).best)
        write_fp32(exported, graph)
        aligns = isinstance(recipe, LandmarkRecipe)
        network = OnnxNet(graph, recipe.input, int(exported.module(exported.example).shape[1]))
        measures = point(network, benchmark) if aligns else recognise(network, benchmark)
        record = {
            "recipe": recipe.model_dump_json(),
            "rounds": budget.rounds,
            "digest": digest_file(graph),
            **asdict(count(exported.module, exported.example)),
            "measures": {name: [round(float(v), 6) for v in values] for name, values in measures.items()},
        }
        write_json(report, record)
    return RowRun(
        row,
        seed,
        graph=graph,
        net=f"{recipe.task} {recipe.student.model_dump_json()} {_size(recipe.input)}",
        parameters=record["parameters"],
        multiply_adds=record["multiply_adds"],
        measures={name: np.array(values) for name, values in record["measures"].items()},
    )


def _listed(target: Concat, roots: Roots) -> bool:
    return target.select is None or (roots.runs / target.select).is_file()


def _size(pixels: InputSpec) -> str:
    return f"{pixels.width}x{pixels.height}"


def _read(report: Path, recipe: Recipe, rounds: int) -> dict[str, Any] | None:
    """What was measured before, if it was with this very recipe and bootstrap."""
    if not report.is_file():
        return None
    record: dict[str, Any] = json.loads(report.read_text(encoding="utf-8"))
    return record if recipe.matches_text(record["recipe"]) and record["rounds"] == rounds else None


def describe_data(roots: Roots, benchmark: Benchmark) -> dict[str, object]:
    """What the teacher, and so every row, was trained on, and how much the benchmark holds.

    `mean_shape` is what a network would score that always answered with the mean landmarks.
    """
    known: dict[str, object] = {"sets": {}, "crops": 1, "classes": 0}
    folder = roots.runs / run_name(TEACHER, 0)
    if (folder / FILE).is_file():
        facts = load_checkpoint(folder).facts
        known = {"sets": facts["data"], "crops": facts["crops"], "classes": len(facts["classes"])}
    mean = np.broadcast_to(benchmark.points.mean(axis=0), benchmark.points.shape)
    return known | {
        "held_out_crops": len(benchmark.celeba.crops),
        "held_out_people": int(benchmark.celeba.person.max()) + 1,
        "mean_shape": {
            name: float(v[0]) for name, v in measure_points(mean, benchmark.points, benchmark.celeba).items()
        },
    }
