"""Tables that a spreadsheet opens hold text, and run nothing."""

from __future__ import annotations

import csv

import pytest

from service.spreadsheets import comma_separated


@pytest.mark.parametrize("text", ["=1+1", "+1", "@SUM(A1)", "-cmd", "\tx", "\rx"])
def test_what_would_be_a_formula_is_text(text: str) -> None:
    assert comma_separated([[text, "ann"]]) in (f"'{text},ann\n", f'"\'{text}",ann\n')


def test_other_cells_are_as_they_were() -> None:
    rows = [["ann", "-", "", "a,b", 'say "x"', "-"], ["1", "two\nlines", "", "", "", ""]]
    assert list(csv.reader(comma_separated(rows).splitlines(keepends=True))) == rows
