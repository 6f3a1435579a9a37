"""The page and the plot are made of the results alone."""

import json
import re
from pathlib import Path
from typing import Any
from xml.etree import ElementTree as Xml

import numpy as np
import pytest
from PIL import Image
from typer.testing import CliRunner

from tests.conftest import ROOT
from training.cli import app
from training.papers.page import write_page
from training.papers.plot import columns, draw_points, spread
from training.papers.rows import CLAIMS, DARMSTADT, LATER, ROWS, SHRINK

DOCS = ROOT / "docs"


@pytest.fixture(scope="module")
def results() -> dict[str, Any]:
    found: dict[str, Any] = json.loads((DOCS / "papers.json").read_text(encoding="utf-8"))
    return found


def test_the_committed_page_is_what_the_committed_results_say(tmp_path: Path, results: dict[str, Any]) -> None:
    outcome = CliRunner().invoke(app, ["papers-table", str(DOCS / "papers.json"), "--out", str(tmp_path)])
    assert outcome.exit_code == 0, outcome.output
    assert (tmp_path / "papers.md").read_text() == (DOCS / "papers.md").read_text()
    drawn = {path.name for path in tmp_path.iterdir()}
    assert drawn == {"papers.md", "papers.png", "papers.svg"}
    with Image.open(tmp_path / "papers.png") as picture:
        assert min(picture.size) > 500
    text = "".join(Xml.parse(tmp_path / "papers.svg").getroot().itertext())
    assert text is not None


def test_every_row_stands_in_the_table_with_numbers_or_a_reason(results: dict[str, Any]) -> None:
    assert [row["recipe"] for row in results["rows"]] == [row.recipe for row in ROWS]
    page = (DOCS / "papers.md").read_text(encoding="utf-8")
    for row in results["rows"]:
        (line,) = [line for line in page.splitlines() if line.startswith(f"| `{row['recipe']}` |")]
        assert ("not run: " in line) == bool(row["reason"])
        assert row["reason"] or row["measures"]


def test_every_claim_has_a_verdict(results: dict[str, Any]) -> None:
    assert [(c["row"], c["against"]) for c in results["claims"]] == [(c.row, c.against) for c in CLAIMS]
    page = (DOCS / "papers.md").read_text(encoding="utf-8")
    verdicts = page.split("## Which claims held")[1]
    for claim in CLAIMS:
        assert f"- {claim.says} (`{claim.row}`)" in verdicts


def test_once_every_row_is_at_its_end_nothing_is_said_of_early_ones(tmp_path: Path, results: dict[str, Any]) -> None:
    some = next(row for row in results["rows"] if "lfw accuracy" in row.get("measures", {}))
    told = {name: some[name] for name in ("measures", "milliseconds", "parameters", "multiply_adds")}
    ended = {"end": True, "reason": "", "seeds": 3, "gap": {"value": -0.012, "ci95": [-0.02, -0.004]}, "late": 0.034}
    rows = [told | row | ended for row in results["rows"]]
    claims = [claim | {"end": True} for claim in results["claims"]]
    page = write_page({**results, "rows": rows, "claims": claims}, tmp_path).read_text(encoding="utf-8")
    assert re.findall(r"(?i)\bearl(?:y|ier)\b", page) == []
    assert "35 of 35" not in page
    assert "All 35 rows are trained to their end." in page
    (line,) = [line for line in page.splitlines() if line.startswith("| `karlekar-kt` |")]
    assert "| -1.2 (-2.0 .. -0.4) |" in line
    assert "| 3.4 % |" in line


def test_the_page_says_which_runs_were_not_trained_on_a_cpu(tmp_path: Path, results: dict[str, Any]) -> None:
    for trained, said in (
        ({"cpu": 9}, ""),
        ({"cpu": 7, "Some Card": 2}, "Of 9 runs, 2 were trained on Some Card and the others on CPUs"),
    ):
        data = results["data"] | {"trained_on": trained}
        page = write_page({**results, "data": data}, tmp_path).read_text(encoding="utf-8")
        assert ("the others on CPUs" in page) == bool(said)
        assert said in page


def test_papers_that_claim_more_show_more(tmp_path: Path, results: dict[str, Any]) -> None:
    fixed = {"lfw fmr": {"value": 0.0123, "ci95": [0.01, 0.02], "spread": None}}
    rank = {"celeba rank-1": {"value": 0.777, "ci95": [0.7, 0.8], "spread": None}}
    rows = [row | {"measures": row["measures"] | fixed | rank} if "measures" in row else row for row in results["rows"]]
    page = write_page({**results, "rows": rows}, tmp_path).read_text(encoding="utf-8")
    sections = {section.partition("\n")[0]: section for section in page.split("\n## ")}
    shown = {name for name, section in sections.items() if "| 1.2 (1.0 .. 2.0) |" in section}
    assert shown == {"Teacher", DARMSTADT}
    assert {name for name, section in sections.items() if "| 77.7 (70.0 .. 80.0) |" in section} == {
        "Teacher",
        SHRINK,
        LATER,
    }


def test_results_that_are_none_are_one_line() -> None:
    outcome = CliRunner().invoke(app, ["papers-table", "nothing.json"])
    assert outcome.exit_code == 1
    assert "nothing.json" in outcome.stderr


def test_a_row_without_accuracy_is_not_drawn(tmp_path: Path) -> None:
    number = {"value": 0.8, "ci95": [0.7, 0.9]}
    rows = [
        {"recipe": "a", "system": "A", "milliseconds": 1.0, "measures": {"lfw accuracy": number}},
        {"recipe": "b", "system": "A", "milliseconds": 2.0, "measures": {"nme": number}},
        {"recipe": "c", "system": "B", "reason": "no teacher"},
    ]
    (_, svg) = draw_points({"rows": rows}, tmp_path)
    first = svg.read_bytes()
    assert b"<!-- a -->" in first
    assert b"<!-- b -->" not in first
    draw_points({"rows": rows}, tmp_path)
    assert svg.read_bytes() == first, "the same results give the same file"


def test_the_teacher_is_a_line_and_the_ensemble_a_star(tmp_path: Path) -> None:
    number = {"value": 0.98, "ci95": [0.97, 0.99]}
    rows = [
        {"recipe": "teacher", "system": "T", "milliseconds": 1.0, "end": True, "measures": {"lfw accuracy": number}}
    ]
    plain = draw_points({"rows": [rows[0] | {"end": False}]}, tmp_path)[1].read_text()
    ensemble = {"milliseconds": 20.0, "measures": {"lfw accuracy": number}}
    drawn = draw_points({"rows": rows, "ensemble": ensemble}, tmp_path)[1].read_text()
    assert "MobileID's ensemble" in drawn
    assert "MobileID's ensemble" not in plain


def test_networks_of_about_one_speed_share_a_column_of_labels() -> None:
    speeds = [
        [row["milliseconds"] for row in column] for column in columns([{"milliseconds": t} for t in (9, 1, 1.2, 2)])
    ]
    assert speeds == [[1, 1.2], [2], [9]]


def test_labels_are_moved_apart_and_stay_where_there_is_room() -> None:
    np.testing.assert_allclose(spread([0.1, 0.5, 0.9], 0.1), [0.1, 0.5, 0.9])
    moved = spread([0.5, 0.5, 0.52], 0.1)
    np.testing.assert_allclose(np.diff(moved), 0.1)
    assert moved.mean() == pytest.approx(np.mean([0.5, 0.5, 0.52]))
