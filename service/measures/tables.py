"""Tables that people write by hand or with a spreadsheet: CSV, the names of the columns in its first line."""

from __future__ import annotations

import csv
import io
from typing import Any, NamedTuple


class TableInvalid(ValueError):
    """The text is not such a table."""


class Row(NamedTuple):
    """One row: the number of its last line, and its cells by column.

    A cell that is missing is None. Cells beyond the columns are a list under None.
    """

    line: int
    cells: dict[Any, Any]


class Table(NamedTuple):
    """The columns and the rows."""

    columns: tuple[str, ...]
    rows: list[Row]


def read_table(text: str) -> Table:
    """Read CSV. Cells in quotes may hold line ends; a quote that is never closed would swallow the rows after it.

    Raises:
        TableInvalid: The text cannot be read so; the message says in which line. Or two columns have one name.
    """
    reader = csv.DictReader(io.StringIO(text), strict=True)
    try:
        columns = tuple(reader.fieldnames or ())
        if twice := [name for name in columns if name and columns.count(name) > 1]:
            raise TableInvalid(f"two columns are named {twice[0]}, and only one of them would be read")
        return Table(columns, [Row(reader.line_num, cells) for cells in reader])
    except csv.Error as error:
        raise TableInvalid(f"line {reader.line_num + 1} begins no row of CSV: {error}") from error
