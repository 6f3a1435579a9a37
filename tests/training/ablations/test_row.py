"""A whole table on a very small network: trained, measured, kept, and not trained twice; and the table in the docs."""

import json
from pathlib import Path

import numpy as np
import pytest
import yaml
from numpy.typing import NDArray
from typer.testing import CliRunner

from tests.training.conftest import MakeRecipe, MakeSet
from training.ablations.levers import LEVERS
from training.ablations.row import make_row, read_record, record_path
from training.ablations.table import COLUMNS, describe_rows
from training.cli import app
from training.data.augment import Augment, augment
from training.data.crops import Entry, writing_set
from training.recipe import Roots
from training.tasks.registry import read_recipe

ROOT = Path(__file__).parents[3]


@pytest.fixture(scope="module")
def roots(tmp_path_factory: pytest.TempPathFactory, make_set: MakeSet, faces: NDArray[np.uint8]) -> Roots:
    """A set `six` to train on, and `held` of the same six people, all for testing."""
    root = tmp_path_factory.mktemp("ablations")
    make_set(root / "data" / "six")
    rows = np.repeat(np.arange(6), 5)
    crops, _ = augment(faces[rows], Augment(shift=4, light=0.2), np.random.default_rng(4))
    with writing_set(root / "data" / "held", ()) as writer:
        for place, (crop, row) in enumerate(zip(crops, rows, strict=True)):
            writer.add(crop, Entry(f"{place}.png", f"person-{row}", "test"))
    (root / "models").mkdir()
    return Roots(root / "data", root / "models", root / "runs")


def test_rows_are_trained_once_and_told_beside_the_base(
    roots: Roots, make_recipe: MakeRecipe, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    recipe = tmp_path / "tiny.yaml"
    recipe.write_text(yaml.safe_dump(make_recipe().model_dump(mode="json")))
    kept = tmp_path / "kept"
    words = ["ablations", str(recipe), "--steps", "3", "--lever", "base", "--lever", "rate-double"]
    words += ["--people", "held", "--turned", "held", "--portraits", "held", "--results", str(kept)]
    words += ["--data", str(roots.data), "--models", str(roots.models), "--runs", str(roots.runs)]
    first = CliRunner().invoke(app, words)
    assert first.exit_code == 0, first.output
    records = [json.loads((kept / f"tiny-{lever}.json").read_text()) for lever in ("base", "rate-double")]
    assert first.output.rstrip().endswith(describe_rows(records))
    for record in records:
        assert record["crops"] == 36
        assert set(record["measures"]) == set(COLUMNS)
        assert all(0 <= value <= 1 for value in record["measures"].values())
    assert records[1]["recipe"]["schedule"]["peak"] == 2 * records[0]["recipe"]["schedule"]["peak"]
    assert records[0]["digest"] != records[1]["digest"]

    def refuse(*_: object, **__: object) -> None:
        raise AssertionError("a finished row was trained again")

    monkeypatch.setattr("training.ablations.row.fit", refuse)
    again = CliRunner().invoke(app, words)
    assert again.output.rstrip().endswith(describe_rows(records))
    table = CliRunner().invoke(app, [*words, "--no-train", "--lever", "seed"])
    assert table.output.strip() == describe_rows(records), "a row that is not finished is left out"


def test_a_table_tells_the_difference_from_the_base() -> None:
    base = {"lever": "base", "measures": dict.fromkeys(COLUMNS, 0.02)}
    other = {"lever": "seed", "measures": dict.fromkeys(COLUMNS, 0.0175)}
    assert describe_rows([base, other]).splitlines()[2].startswith("| the recipe as it is | 2.00 | ")
    assert "| 1.75 (-0.25) |" in describe_rows([base, other]).splitlines()[3]
    assert "| 1.75 |" in describe_rows([other]).splitlines()[2]


def test_the_documents_hold_the_table_of_the_kept_rows() -> None:
    recipe = read_recipe(ROOT / "training" / "recipes" / "facet-s.yaml")
    rows = [make_row(recipe, lever, 100) for lever in LEVERS]
    finished = [(row, record_path(row)) for row in rows if record_path(row).is_file()]
    records = [read_record(path, row) for row, path in finished]
    assert records
    assert all(records), "a kept row is of another recipe than today's: train it again"
    table = describe_rows([record for record in records if record is not None])
    assert table in (ROOT / "docs" / "students.md").read_text(encoding="utf-8")
