"""Moments on the command line: a zone that is named holds, and what is no moment is refused in words."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

import pytest
import typer
import typer.main

from service.cli import COMMANDS, app
from tests.commands.test_names import options


def of_moments() -> dict[str, Any]:
    """Every option that bounds a time, by its command's line."""
    program: Any = typer.main.get_command(app)
    found = {
        f"{line} {option.opts[0]}": option
        for name in COMMANDS
        for line, option in options(program.load(name), name)
        if {"--since", "--until"} & set(option.opts)
    }
    assert {"audit --since", "report --until", "comparison report --since"} <= set(found)
    return found


def test_every_command_reads_a_moment_in_its_zone() -> None:
    for line, option in of_moments().items():
        for text, hour in (("2026-05-01", 0), ("2026-05-01 10:00", 10), ("2026-05-01T10:00:00+02:00", 8)):
            assert option.process_value(None, text) == datetime(2026, 5, 1, hour, tzinfo=UTC), line


@pytest.mark.parametrize("text", ["2026", "1767225600", "yesterday", "0001-01-01T00:00:00+14:00"])
def test_every_command_refuses_what_is_no_moment(text: str) -> None:
    for option in of_moments().values():
        with pytest.raises(typer.BadParameter, match="is no moment: type 2026-05-01 or"):
            option.process_value(None, text)
