"""The settings as commands need them."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from service.settings import Settings, read_settings

DataOption = Annotated[Path | None, typer.Option("--data", help="Folder of the storage. Default: FACET_DATA.")]


def settings_for(data: Path | None) -> Settings:
    """The settings from the environment, with another data folder when given. Raises: SettingsInvalid."""
    return read_settings() if data is None else read_settings(data=data)
