"""What was finished before a measure was thought of is measured again, from its graph and without training."""

import json
from pathlib import Path
from typing import Any

import pytest

from training.atomic_folder import digest_file
from training.data.crops import CropSet
from training.papers.budget import BUDGETS, cut
from training.papers.finished import REPORT, read_record, write_record
from training.papers.measures.benchmark import ALIGNMENT, RECOGNITION, Benchmark
from training.papers.rows import ROWS
from training.papers.run import describe_data, run_row
from training.papers.timing import write_fresh
from training.recipe import Roots
from training.tasks.embedding import EmbeddingRecipe

SMALL = BUDGETS["small"]
ROW = {row.recipe: row for row in ROWS}


def finished(stem: str, folder: Path, **changes: Any) -> dict[str, Any]:
    """A row that was finished when less was measured, with its graph."""
    recipe = cut(stem, SMALL, 0)
    assert isinstance(recipe, EmbeddingRecipe)
    folder.mkdir(parents=True)
    graph = write_fresh(recipe, folder / "fp32.onnx")
    facts = {"steps": 2, "data": {}, "teachers": {}, "crops": 9, "classes": 3, "parameters": 7, "multiply_adds": 11}
    record = {
        "recipe": json.loads(recipe.model_dump_json()),
        "rounds": SMALL.rounds,
        "digest": digest_file(graph),
        **facts,
        "measures": {"lfw accuracy": [0.25] * (1 + SMALL.rounds)},
    } | changes
    write_record(folder / REPORT, record)
    return record


@pytest.mark.parametrize(("stem", "names"), [("wang-alone", RECOGNITION), ("wang-align-alone", ALIGNMENT)])
def test_measures_that_a_record_lacks_are_taken_from_its_graph(
    stem: str, names: tuple[str, ...], tmp_path: Path, people: CropSet, benchmark: Benchmark
) -> None:
    roots, folder = Roots(tmp_path, tmp_path, tmp_path / "runs"), tmp_path / "runs" / f"{stem}-0"
    record = finished(stem, folder)
    taken = run_row(ROW[stem], 0, SMALL, roots, people, benchmark, train=False, kept=tmp_path)
    assert taken.measures is not None
    assert set(taken.measures) == set(names)
    assert {len(values) for values in taken.measures.values()} == {1 + SMALL.rounds}
    again = read_record(folder / REPORT, cut(stem, SMALL, 0), SMALL.rounds)
    assert again is not None
    assert {name: again[name] for name in record if name != "measures"} == {
        name: record[name] for name in record if name != "measures"
    }
    assert again["learning"] is None, "there is no log"
    assert taken.facts["trained_on"] == "cpu", "as all were before a record said it"
    written = (folder / REPORT).read_bytes()
    run_row(ROW[stem], 0, SMALL, roots, people, None, train=False, kept=tmp_path)  # type: ignore[arg-type]
    assert (folder / REPORT).read_bytes() == written, "a whole record is not measured again"


def test_a_graph_that_is_not_the_records_is_not_measured(tmp_path: Path, people: CropSet, benchmark: Benchmark) -> None:
    roots = Roots(tmp_path, tmp_path, tmp_path / "runs")
    finished("wang-alone", roots.runs / "wang-alone-0", digest="another")
    taken = run_row(ROW["wang-alone"], 0, SMALL, roots, people, benchmark, train=False, kept=tmp_path)
    assert taken.measures is not None
    assert {name: values[0] for name, values in taken.measures.items()} == {"lfw accuracy": 0.25}


def test_the_runs_are_counted_by_the_processor_that_they_were_trained_on(
    tmp_path: Path, people: CropSet, benchmark: Benchmark
) -> None:
    roots = Roots(tmp_path, tmp_path, tmp_path / "runs")
    finished("wang-alone", roots.runs / "wang-alone-0", trained_on="Some Accelerator")
    finished("wang-align-alone", roots.runs / "wang-align-alone-0")
    runs = [
        run_row(ROW[stem], 0, SMALL, roots, people, benchmark, train=False, kept=tmp_path)
        for stem in ("wang-alone", "wang-align-alone", "adadistill")
    ]
    assert describe_data(runs, benchmark)["trained_on"] == {"Some Accelerator": 1, "cpu": 1}
