"""The file of results: what is none is said to be none."""

from __future__ import annotations

import csv
from dataclasses import replace
from pathlib import Path

import pytest

from service.bulk.errors import RecordForeign
from service.bulk.pairs import Pair
from service.bulk.results import NAMES, Results, Row

ROW = Row("1", "a.jpg", "b.jpg", "", "1")
CELLS = ["1", "a.jpg", "b.jpg", "", "1", *[""] * (len(NAMES) - 5)]


@pytest.mark.parametrize(
    "line",
    [",".join([*CELLS, "more"]), ",".join(CELLS[:8]), ",".join(["1", "x" * 200_000, *CELLS[2:]])],
    ids=["more cells", "fewer cells", "a cell beyond measure"],
)
def test_a_line_that_is_no_result_is_told_as_foreign(tmp_path: Path, line: str) -> None:
    path = tmp_path / "pairs.results.csv"
    path.write_text(f"{','.join(NAMES)}\n{line}\n")
    with pytest.raises(RecordForeign, match="something else than results"):
        Results(path, [ROW])


def test_a_whole_line_is_read(tmp_path: Path) -> None:
    path = tmp_path / "pairs.results.csv"
    path.write_text(f"{','.join(NAMES)}\n{','.join(CELLS)}\n")
    assert Results(path, [ROW]).rows == {"1": ROW}


def test_results_of_any_file_are_gone_on_after(tmp_path: Path) -> None:
    path, row = tmp_path / "pairs.results.csv", Row.of(Pair(1, "=two\nlines.jpg", "b.jpg", None, None), "")
    with Results(path, [row]) as results:
        results.add(replace(row, code="file_unreadable", detail="=two\nlines.jpg: No such file or directory"))
    assert list(Results(path, [row]).rows) == ["1"]
    with path.open(newline="") as lines:
        assert not [cell for cells in csv.reader(lines) for cell in cells if cell.startswith("=")]
