"""Lists that commands print: a table for people, JSON for programs."""

from __future__ import annotations

import json
import sys
from collections.abc import Mapping, Sequence
from typing import Annotated, Any

import typer

JsonOption = Annotated[bool, typer.Option("--json", help="Print JSON instead of a table.")]
UNBOUNDED = 10_000
"""Columns of a table that goes to a file or another program: no row is wrapped there."""


def print_list(
    columns: Sequence[str], rows: Sequence[Sequence[Any]], records: Sequence[Mapping[str, Any]], as_json: bool
) -> None:
    """Print `rows` under `columns`, or `records` as a JSON array; times are ISO 8601."""
    if as_json:
        typer.echo(json.dumps(list(records), indent=2, ensure_ascii=False, default=_plain))
    else:
        print_table(columns, rows)


def print_table(columns: Sequence[str], rows: Sequence[Sequence[Any]]) -> None:
    """Print a table; numbers with a fraction have three digits of it. Texts stand as they are, brackets and all."""
    from rich.console import Console  # noqa: PLC0415 - JSON goes without
    from rich.table import Table  # noqa: PLC0415

    table = Table(*columns)
    for row in rows:
        table.add_row(*(f"{cell:.3f}" if isinstance(cell, float) else str(cell) for cell in row))
    Console(width=None if sys.stdout.isatty() else UNBOUNDED, markup=False, emoji=False).print(table)


def _plain(value: Any) -> Any:
    return value.isoformat() if hasattr(value, "isoformat") else sorted(value)
