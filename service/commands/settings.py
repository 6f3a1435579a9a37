"""The settings as commands need them."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from service.database.sqlite.engine import FILE
from service.errors import FacetError
from service.settings import Settings, read_settings

DataOption = Annotated[Path | None, typer.Option("--data", help="Folder of the storage. Default: FACET_DATA.")]


class StoreMissing(FacetError):
    """There is no gallery in the data folder; only `serve` and `import` make one."""

    code = "store_missing"


def settings_for(data: Path | None) -> Settings:
    """Read the settings from the environment, with another data folder when given.

    Raises:
        SettingsInvalid: A setting cannot be used.
    """
    return read_settings() if data is None else read_settings(data=data)


def settings_of_store(data: Path | None) -> Settings:
    """Read the settings for a command that works on a gallery which is there.

    Raises:
        SettingsInvalid: A setting cannot be used.
        StoreMissing: The gallery would be in the data folder, and is not.
    """
    settings = settings_for(data)
    folder = settings.storage.data
    if settings.database.url is None and not (folder / FILE).is_file():
        raise StoreMissing(
            f"there is no gallery in {folder.absolute()}: name its folder with --data or FACET_DATA "
            "(`facet serve` makes one)"
        )
    return settings
