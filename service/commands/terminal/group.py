"""What groups of commands have in common."""

from __future__ import annotations

import typer


def command_group(about: str) -> typer.Typer:
    """Make a group of commands that prints its help when no command is named."""
    group = typer.Typer(help=about, no_args_is_help=True, add_completion=False, rich_markup_mode=None)
    group.callback()(_nothing)  # or else a group of one command would be that command
    return group


def _nothing() -> None:
    """Take no options before a command."""
