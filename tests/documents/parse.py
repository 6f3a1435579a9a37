"""Command lines of `facet` and `facet-train`, checked without running them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import typer.main

from service.cli import app as facet
from training.cli import app as facet_train

PROGRAMS = {"facet": facet, "facet-train": facet_train}
ALWAYS = {"--help", "-h"}


def parse(words: Sequence[str]) -> int:
    """Parse a whole command line and do nothing; returns the exit status, 2 where a word is wrong."""
    whole = typer.main.get_command(PROGRAMS[words[0]])
    leaf, _ = _find(whole, words[1:])
    leaf.callback = lambda **_: None
    try:
        whole.main(list(words[1:]), prog_name=words[0])
    except SystemExit as end:
        return int(end.code or 0)
    return 0


def unknown_words(words: Sequence[str]) -> list[str]:
    """The words of a command line in prose that are no command and no option of it; its values are not looked at."""
    leaf, rest = _find(typer.main.get_command(PROGRAMS[words[0]]), words[1:])
    known = ALWAYS.union(*([*parameter.opts, *parameter.secondary_opts] for parameter in leaf.params))
    missing = [word for word in rest if word.startswith("-") and word.partition("=")[0] not in known]
    if hasattr(leaf, "commands") and rest and rest[0] not in known:
        missing.append(rest[0])
    return missing


def _find(command: Any, words: Sequence[str]) -> tuple[Any, Sequence[str]]:
    """The command of these words below a group, and the words after it."""
    while words and hasattr(command, "commands") and words[0] in command.commands:
        load = getattr(command, "load", command.commands.get)  # `facet` imports a command when it is called
        command, words = load(words[0]), words[1:]
    return command, words
