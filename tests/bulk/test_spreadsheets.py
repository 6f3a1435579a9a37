"""Tables that a spreadsheet opens hold text, and run nothing."""

from __future__ import annotations

import csv
import io

import pytest

from service.bulk.spreadsheets import comma_separated


@pytest.mark.parametrize("text", ["=1+1", "+1", "@SUM(A1)", "-cmd", "\tx", "\rx"])
def test_what_would_be_a_formula_is_text(text: str) -> None:
    assert comma_separated([[text, "ann"]]) in (f"'{text},ann\n", f'"\'{text}",ann\n')


def test_other_cells_are_as_they_were() -> None:
    rows = [["ann", "-", "", "a,b", 'say "x"', "-"], ["1", "two\nlines", "", "", "", ""]]
    assert list(csv.reader(comma_separated(rows).splitlines(keepends=True))) == rows


@pytest.mark.parametrize("cell", ["a\r=1", "a\n=1", "a,=1", 'a"=1'])
def test_no_cell_begins_within_another(cell: str) -> None:
    assert list(csv.reader(io.StringIO(comma_separated([["a", cell]]), newline=""))) == [["a", cell]]


def test_numbers_and_empty_places_stay_what_they_are() -> None:
    cells: list[object] = [-0.25, 0.5, -3, None, "-", "a=b", "0.1"]
    assert comma_separated([cells]) == "-0.25,0.5,-3,,-,a=b,0.1\n"
