"""Names on the command line: one name, however its accents were typed."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import typer.main

from service.cli import COMMANDS, app

COMPOSED, DECOMPOSED = "Caf\u00e9", "Cafe\u0301"


def options(command: Any, line: str) -> Iterator[tuple[str, Any]]:
    """Every option of a command and of those below it, with the command's line."""
    for name, inner in getattr(command, "commands", {}).items():
        yield from options(inner, f"{line} {name}")
    yield from ((line, option) for option in command.params)


def test_every_command_spells_its_collection_as_the_gallery_does() -> None:
    program: Any = typer.main.get_command(app)
    of_collections = {
        line: option
        for name in COMMANDS
        for line, option in options(program.load(name), name)
        if "--collection" in option.opts
    }
    assert {"audit", "report", "comparison report", "reembed start", "gallery export"} <= set(of_collections)
    for line, option in of_collections.items():
        typed, spelt = ([DECOMPOSED], [COMPOSED]) if option.multiple else (DECOMPOSED, COMPOSED)
        assert option.callback is not None, line
        assert option.callback(None, option, typed) == spelt, line
