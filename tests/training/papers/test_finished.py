"""Rows that are kept are taken and not run again, and only where they are of the very recipe."""

import json
from pathlib import Path
from typing import Any

import pytest

from training.papers.budget import BUDGETS, cut
from training.papers.finished import (
    EARLY,
    ENSEMBLE,
    KEPT,
    KEPT_ENSEMBLE,
    REPORT,
    keep_rows,
    read_early,
    read_record,
    write_record,
)
from training.papers.rows import ROWS, TEACHER
from training.papers.run import run_row
from training.papers.timing import time_networks
from training.recipe import Roots

SMALL = BUDGETS["small"]
ROW = {row.recipe: row for row in ROWS}


def record(stem: str, seed: int = 0, **changes: Any) -> dict[str, Any]:
    return {
        "recipe": json.loads(cut(stem, SMALL, seed).model_dump_json()),
        "rounds": SMALL.rounds,
        "digest": "d",
        "steps": 2,
        "data": {"celeba": "a", "pins": "b"},
        "teachers": {},
        "crops": 9,
        "classes": 3,
        "parameters": 7,
        "multiply_adds": 11,
        "measures": {"lfw accuracy": [0.5] * (1 + SMALL.rounds)},
    } | changes


def test_a_record_is_read_where_recipe_and_rounds_are_the_same(tmp_path: Path) -> None:
    path, mine = tmp_path / "row.json", record("wang-alone")
    write_record(path, mine)
    recipe = cut("wang-alone", SMALL, 0)
    assert read_record(path, recipe, SMALL.rounds) == mine
    assert read_record(path, recipe, SMALL.rounds + 1) is None
    assert read_record(path, cut("wang-alone", SMALL, 1), SMALL.rounds) is None
    assert read_record(tmp_path / "none.json", recipe, SMALL.rounds) is None
    assert len(path.read_text().splitlines()) < 20


def test_finished_rows_are_kept_once(tmp_path: Path) -> None:
    runs, kept = tmp_path / "runs", tmp_path / "kept"
    write_record(runs / "papers-teacher" / REPORT, record(TEACHER))
    write_record(runs / "wang-alone-0" / REPORT, record("wang-alone"))
    write_record(runs / "darmstadt-alone-0" / REPORT, record("darmstadt-alone", rounds=1))
    assert {path.name for path in keep_rows(SMALL, runs, kept)} == {"papers-teacher.json", "wang-alone-0.json"}
    assert keep_rows(SMALL, runs, kept) == []
    write_record(runs / "wang-alone-0" / REPORT, record("wang-alone", digest="e"))
    assert [path.name for path in keep_rows(SMALL, runs, kept)] == ["wang-alone-0.json"]


@pytest.mark.parametrize("stem", ["wang-alone", "wang-align-alone"])
def test_a_kept_row_is_taken_without_a_run_and_its_network_timed(stem: str, tmp_path: Path) -> None:
    roots = Roots(tmp_path, tmp_path, tmp_path / "runs")
    write_record(tmp_path / "kept" / f"{stem}-0.json", record(stem))
    taken = run_row(ROW[stem], 0, SMALL, roots, None, None, kept=tmp_path / "kept")  # type: ignore[arg-type]
    assert taken.measures is not None
    assert (taken.graph, taken.parameters, taken.facts["steps"]) == (None, 7, 2)
    assert not roots.runs.exists()
    (milliseconds,) = time_networks([taken, taken], 1).values()
    assert milliseconds > 0
    missing = run_row(ROW["wang-distil"], 0, SMALL, roots, None, None, train=False, kept=tmp_path)  # type: ignore[arg-type]
    assert missing.reason


def test_the_ensemble_is_kept_beside_the_rows(tmp_path: Path) -> None:
    runs, kept = tmp_path / "runs", tmp_path / "results" / "papers"
    assert keep_rows(SMALL, runs, kept) == []
    write_record(runs / ENSEMBLE, {"members": ["a"], "measures": {}})
    (written,) = keep_rows(SMALL, runs, kept)
    assert written == tmp_path / "results" / KEPT_ENSEMBLE.name
    assert written.read_bytes() == (runs / ENSEMBLE).read_bytes()
    assert keep_rows(SMALL, runs, kept) == []


def test_what_is_kept_is_of_todays_recipes() -> None:
    real = BUDGETS["real"]
    runs = [cut(row.recipe, real, seed) for row in ROWS for seed in range(1 if row.recipe == TEACHER else 3)]
    recipes = {recipe.name: recipe for recipe in runs}
    for path in KEPT.glob("*.json"):
        assert read_record(path, recipes[path.stem], real.rounds) is not None, path


def test_early_results_are_of_the_rows_there_are() -> None:
    assert EARLY.is_file()
    assert {row["recipe"] for row in read_early()["rows"]} <= set(ROW)
