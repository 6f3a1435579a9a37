"""Every row with every seed: trained, exported, measured. What is done stays, so a call may be killed at any time."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from service.errors import FacetError
from service.face.manifest import InputSpec
from training.atomic_folder import digest_file
from training.backbones.network import build_student
from training.data.crops import CropSet
from training.distillation.terms.targets import Concat
from training.engine.checkpoint import load_checkpoint
from training.engine.fit import fit
from training.errors import TrainingError
from training.evaluation.onnx_network import OnnxNet
from training.export.cost import count
from training.export.graphs import write_fp32
from training.papers.budget import Budget, cut
from training.papers.finished import KEPT, REPORT, read_record, write_record
from training.papers.learning import read_learning
from training.papers.measures.benchmark import ALIGNMENT, RECOGNITION, Benchmark, measure_points, point, recognise
from training.papers.rows import ROWS, TEACHER, Row
from training.recipe import Roots
from training.tasks.embedding import EmbeddingRecipe
from training.tasks.landmarks import POINTS, LandmarkRecipe
from training.tasks.neuron_selection import choose_neurons
from training.tasks.registry import kind_of

BALANCE = 0.01
CPU = "cpu"
"""Where a run was trained that does not say it."""


@dataclass(frozen=True, slots=True)
class RowRun:
    """One row with one seed. `reason` says why there is nothing to see; else the graph lies at `graph`.

    `net` names the network and its input, so that rows that share one are timed once; `recipe` is what was run, and
    `facts` say of which sets (`data`, their digests), `crops` and `classes` it learnt, for how many `steps`, and
    on which processor (`trained_on`). A row that was taken from what is kept has no graph.
    """

    row: Row
    seed: int
    reason: str = ""
    graph: Path | None = None
    net: str = ""
    parameters: int = 0
    multiply_adds: int = 0
    measures: dict[str, NDArray[np.float64]] | None = None
    recipe: EmbeddingRecipe | None = None
    facts: Mapping[str, Any] = field(default_factory=dict)


def run_rows(
    budget: Budget,
    roots: Roots,
    people: CropSet,
    benchmark: Benchmark,
    *,
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
            try:
                yield run_row(row, seed, budget, roots, people, benchmark, train=train, progress=progress)
            except (TrainingError, FacetError) as error:
                yield RowRun(row, seed, f"{error.code}: {error}")


def run_row(
    row: Row,
    seed: int,
    budget: Budget,
    roots: Roots,
    people: CropSet,
    benchmark: Benchmark,
    *,
    train: bool = True,
    progress: bool = True,
    kept: Path = KEPT,
) -> RowRun:
    """Run one row with one seed, or take it from what was measured before or is kept.

    Of what was measured before, whatever measures are lacking today are taken from the graph, if it still lies there.

    Raises: what `fit` raises.
    """
    recipe = cut(row.recipe, budget, seed)
    assert isinstance(recipe, EmbeddingRecipe)
    folder, kind = roots.runs / recipe.name, kind_of(recipe.task)
    graph = folder / "fp32.onnx"
    record = read_record(folder / REPORT, recipe, budget.rounds)
    record = record or read_record(kept / f"{recipe.name}.json", recipe, budget.rounds)
    if record is None and not train:
        return RowRun(row, seed, "not reached in the time there was")
    if record is None:
        if any(isinstance(t.target, Concat) and not _listed(t.target, roots) for t in recipe.terms):
            choose_neurons(recipe, people, roots, BALANCE)
        fit(recipe, kind, roots, progress=progress)
        checkpoint = load_checkpoint(folder)
        exported = kind.restore(recipe, checkpoint.best)
        write_fp32(exported, graph)
        record = {
            "recipe": json.loads(recipe.model_dump_json()),
            "rounds": budget.rounds,
            "digest": digest_file(graph),
            "steps": checkpoint.step,
            "data": dict(checkpoint.facts["data"]),
            "teachers": dict(checkpoint.facts["teachers"]),
            "crops": checkpoint.facts["crops"],
            "classes": len(checkpoint.facts["classes"]),
            "trained_on": checkpoint.facts.get("trained_on", CPU),
            **asdict(count(exported.module, exported.example)),
            "measures": {},
        }
    if _lacks(record, recipe) and graph.is_file() and digest_file(graph) == record["digest"]:
        record = record | {
            "learning": read_learning(folder / "log", record["steps"]),
            "measures": _measure(graph, recipe, benchmark),
        }
        write_record(folder / REPORT, record)
    return RowRun(
        row,
        seed,
        graph=graph if graph.is_file() else None,
        net=f"{recipe.task} {recipe.student.model_dump_json()} {_size(recipe.input)}",
        parameters=record["parameters"],
        multiply_adds=record["multiply_adds"],
        measures={name: np.array(values) for name, values in record["measures"].items()},
        recipe=recipe,
        facts={name: record.get(name) for name in ("data", "crops", "classes", "steps", "learning")}
        | {"trained_on": record.get("trained_on", CPU)},
    )


def _lacks(record: Mapping[str, Any], recipe: EmbeddingRecipe) -> bool:
    """Whether a record lacks something that is measured today."""
    measures = ALIGNMENT if isinstance(recipe, LandmarkRecipe) else RECOGNITION
    return "learning" not in record or not set(measures) <= set(record["measures"])


def _measure(graph: Path, recipe: EmbeddingRecipe, benchmark: Benchmark) -> dict[str, list[float]]:
    aligns = isinstance(recipe, LandmarkRecipe)
    network = OnnxNet(graph, recipe.input, POINTS if aligns else build_student(recipe.student, recipe.input).dim)
    measures = point(network, benchmark) if aligns else recognise(network, benchmark)
    return {name: [round(float(v), 5) for v in values] for name, values in measures.items()}


def _listed(target: Concat, roots: Roots) -> bool:
    return target.select is None or (roots.runs / target.select).is_file()


def _size(pixels: InputSpec) -> str:
    return f"{pixels.width}x{pixels.height}"


def describe_data(
    row_runs: Sequence[RowRun], benchmark: Benchmark, jitter: Mapping[str, Any] | None = None
) -> dict[str, object]:
    """What the rows were trained on, sets and processors, the teacher's first, and how much the benchmark holds.

    `mean_shape` is what a network would score that always answered with the mean landmarks; `jitter` what the detector
    scores against itself, and the share of crops where it found a face.
    """
    facts = next((row_run.facts for row_run in row_runs if row_run.facts and row_run.facts["classes"]), None)
    known: dict[str, object] = {"sets": {}, "crops": 1, "classes": 0}
    if facts is not None:
        # a row that begins with a published model names that among its data; what it was shown are the sets
        sets = {name: digest for name, digest in facts["data"].items() if not name.startswith("that of ")}
        known = {"sets": sets, "crops": facts["crops"], "classes": facts["classes"]}
    mean = np.broadcast_to(benchmark.points.mean(axis=0), benchmark.points.shape)
    own = {name: value if name == "found" else value[0] for name, value in (jitter or {}).items()}
    return known | {
        "trained_on": dict(Counter(each.facts["trained_on"] for each in row_runs if each.measures is not None)),
        "jitter": own or None,
        "distractors": len(benchmark.chosen_crops),
        "mated": len(benchmark.gallery.mated),
        "nonmated": len(benchmark.gallery.nonmated),
        "enrolled": len(benchmark.gallery.references),
        "pins_crops": len(benchmark.pins.crops),
        "pins_people": int(benchmark.pins.person.max()) + 1,
        "held_out_crops": len(benchmark.celeba.crops),
        "held_out_people": int(benchmark.celeba.person.max()) + 1,
        "mean_shape": {
            name: float(v[0]) for name, v in measure_points(mean, benchmark.points, benchmark.celeba).items()
        },
    }
