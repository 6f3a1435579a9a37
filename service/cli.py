"""The command `facet`: serve, and look after keys, models and the gallery.

A command's module is imported when it is called, so that help, settings and keys do not wait for models.
"""

from __future__ import annotations

from importlib import import_module
from typing import Annotated, Any

import typer
import typer.main
from typer.core import TyperGroup

from service.errors import FacetError
from service.version import VERSION

COMMANDS = {
    "serve": ("service.commands.serve", "Run the service until it is asked to stop."),
    "config": ("service.commands.config", "Print the settings in force."),
    "keys": ("service.commands.keys", "Make, list and revoke keys; a running service follows at once."),
    "models": ("service.commands.models", "List, inspect, check, add and download models."),
    "gallery": ("service.commands.gallery", "Move, check, compact and measure what is enrolled."),
    "compare": ("service.commands.compare", "Measure models side by side on photographs."),
    "comparison": ("service.commands.rollout", "What champion and challenger decided on live requests."),
    "reembed": ("service.commands.backfill", "A new model's templates for people who are enrolled already."),
    "bench": ("service.commands.bench", "Measure throughput, memory and start on this machine."),
}
"""The commands, each with the module whose `app` it is, and what it does."""


class Commands(TyperGroup):
    """Commands that are imported when they are called, and end on an expected error with one line and status 1."""

    def __init__(self, **attributes: Any) -> None:
        super().__init__(**attributes)
        self._loaded: dict[str, Any] = {}

    def load(self, name: str) -> Any:
        """Import a command."""
        if name not in self._loaded:
            self._loaded[name] = typer.main.get_command(import_module(COMMANDS[name][0]).app)
        return self._loaded[name]

    def resolve_command(self, ctx: Any, args: list[str]) -> Any:
        """Find the command of a line, and import it."""
        name, command, rest = super().resolve_command(ctx, args)
        return name, command if name is None else self.load(name), rest

    def invoke(self, ctx: Any) -> Any:
        """Run the command of a line."""
        try:
            return super().invoke(ctx)
        except FacetError as error:
            message = str(error)
        except OSError as error:
            place = f"{error.filename}: " if error.filename else ""
            message = f"{place}{error.strerror or error}"
        typer.echo(f"facet: {message}", err=True)
        raise typer.Exit(1)


app = typer.Typer(
    cls=Commands,
    help="Self-hosted face verification: enrol, verify and identify over HTTP at a stated false match rate.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
    context_settings={"help_option_names": ["-h", "--help"]},
)


def _print_version(wanted: bool) -> None:
    if wanted:
        typer.echo(f"facet {VERSION}")
        raise typer.Exit


@app.callback()
def facet(
    version: Annotated[
        bool, typer.Option("--version", callback=_print_version, is_eager=True, help="Print the version and exit.")
    ] = False,
) -> None:
    """Take the options that stand before a command."""


def _stand_in() -> None:
    """Hold a command's place in the list of commands until it is called and imported."""


for _name, (_, _help) in COMMANDS.items():
    app.command(_name, help=_help)(_stand_in)


if __name__ == "__main__":
    app()
