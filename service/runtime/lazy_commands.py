"""A command line whose commands are imported when they are called: help does not wait for what they need.

Both `facet` and `facet-train` are made so.
"""

from __future__ import annotations

from collections.abc import Mapping
from importlib import import_module
from typing import Any, ClassVar, NamedTuple

import typer
import typer.main
from typer.core import TyperGroup

from service.errors import FacetError

HELP = {"help_option_names": ["-h", "--help"]}


class Place(NamedTuple):
    """Where a command is, as `module:name`, and what it does, in a line. The name is that of a Typer or a function."""

    where: str
    about: str


class LazyCommands(TyperGroup):
    """Commands of a table, imported when called. A mistake that was foreseen ends with one line and status 1."""

    program: ClassVar[str]
    expected: ClassVar[tuple[type[Exception], ...]] = (FacetError,)
    table: ClassVar[Mapping[str, Place]]

    def __init__(self, **attributes: Any) -> None:
        super().__init__(**attributes)
        self._loaded: dict[str, Any] = {}

    def load(self, name: str) -> Any:
        """Import a command."""
        if name not in self._loaded:
            module, _, attribute = self.table[name].where.partition(":")
            command = getattr(import_module(module), attribute)
            if not isinstance(command, typer.Typer):
                function, command = command, typer.Typer(add_completion=False, rich_markup_mode=None)
                command.command(name)(function)
            self._loaded[name] = typer.main.get_command(command)
        return self._loaded[name]

    def resolve_command(self, ctx: Any, args: list[str]) -> Any:
        """Find the command of a line, and import it."""
        name, command, rest = super().resolve_command(ctx, args)
        return name, command if name is None else self.load(name), rest

    def invoke(self, ctx: Any) -> Any:
        """Run the command of a line."""
        try:
            return super().invoke(ctx)
        except self.expected as error:
            message = self.describe(error)
        except BrokenPipeError:
            raise  # whoever reads the output has enough of it, as `head` has: ended without a word
        except OSError as error:
            place = f"{error.filename}: " if error.filename else ""
            message = f"{self.program}: {place}{error.strerror or error}"
        except ModuleNotFoundError as error:
            if error.name is None or error.name.partition(".")[0] in ("service", "training"):
                raise
            message = self.describe_missing(error.name)
        typer.echo(message, err=True)
        raise typer.Exit(1)

    def describe(self, error: Exception) -> str:
        """Return the line that an expected error ends with."""
        return f"{self.program}: {error}"

    def describe_missing(self, package: str) -> str:
        """Return the line that ends a command whose package is not installed."""
        return f"{self.program}: this needs the package {package}, which is not installed"


def lazy_app(commands: type[LazyCommands], about: str, **options: Any) -> typer.Typer:
    """Make the program of a table of commands."""
    app = typer.Typer(
        cls=commands,
        help=about,
        no_args_is_help=True,
        pretty_exceptions_enable=False,
        rich_markup_mode=None,
        context_settings=HELP,
        **options,
    )
    for name, place in commands.table.items():
        app.command(name, help=place.about)(_stand_in)
    return app


def _stand_in() -> None:
    """Hold a command's place in the list of commands until it is called and imported."""
