"""Tables that are opened with a spreadsheet: text stays text there."""

from __future__ import annotations

import csv
import io
from collections.abc import Iterable, Sequence


def comma_separated(rows: Iterable[Sequence[object]]) -> str:
    """Write rows as CSV, text that would be a formula with an apostrophe before it."""
    return "".join(_line([as_text(cell) for cell in row]) for row in rows)


def _line(cells: Sequence[object]) -> str:
    buffer = io.StringIO()
    csv.writer(buffer, lineterminator="\r\n").writerow(cells)  # what holds either character is then quoted
    return buffer.getvalue().removesuffix("\r\n") + "\n"


def as_text(cell: object) -> object:
    """Keep text from being a formula: a spreadsheet runs what begins with one of these, names and ids included."""
    if isinstance(cell, str) and (cell[:1] in ("=", "+", "@", "\t", "\r") or (cell[:1] == "-" and len(cell) > 1)):
        return f"'{cell}"
    return cell
