"""`facet config`: the settings in force."""

from __future__ import annotations

import json
from typing import Annotated

import typer

from service.commands.terminal.settings import DataOption, settings_for
from service.settings import Settings


def config(
    as_json: Annotated[bool, typer.Option("--json", help="Print them as one JSON object instead.")] = False,
    data: DataOption = None,
) -> None:
    """Print the settings in force, as they could stand in a `.env` file. Secrets are masked."""
    settings = settings_for(data)
    values = {variable: settings.text_of(variable) for variable in Settings.variables()}
    if as_json:
        typer.echo(json.dumps(values, indent=2))
        return
    for variable, value in values.items():
        typer.echo(f"# {Settings.description_of(variable)}\n{variable}={value}\n")
