"""What tables become outside: a spreadsheet runs nothing that a name or an id says."""

from __future__ import annotations

import csv
import io

import pytest

from service.rollout.offline.tables import comma_separated


@pytest.mark.parametrize("cell", ["=cmd|calc!A1", "+1+1", "-2-3", "@SUM(A1)", "\t=1", "\r=1"])
def test_no_cell_is_a_formula(cell: str) -> None:
    (row,) = csv.reader(io.StringIO(comma_separated([["a", cell]]), newline=""))
    assert row == ["a", f"'{cell}"]


@pytest.mark.parametrize("cell", ["a\r=1", "a\n=1", "a,=1", 'a"=1'])
def test_no_cell_begins_within_another(cell: str) -> None:
    assert list(csv.reader(io.StringIO(comma_separated([["a", cell]]), newline=""))) == [["a", cell]]


def test_numbers_and_empty_places_stay_what_they_are() -> None:
    cells: list[object] = [-0.25, 0.5, -3, None, "-", "a=b", "0.1"]
    assert comma_separated([cells]) == "-0.25,0.5,-3,,-,a=b,0.1\n"
