"""The settings as commands need them."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from service.errors import FacetError

if TYPE_CHECKING:
    from service.settings import Settings

DataOption = Annotated[Path | None, typer.Option("--data", help="Folder of the storage. Default: FACET_DATA.")]


class StoreMissing(FacetError):
    """There is no gallery in the data folder; only `serve`, `restore` and the imports make one."""

    code = "store_missing"


def settings_for(data: Path | None) -> Settings:
    """Read the settings from the environment, with another data folder when given.

    Raises:
        SettingsInvalid: A setting cannot be used.
    """
    from service.settings import read_settings  # noqa: PLC0415 - work through a server goes without settings

    return read_settings() if data is None else read_settings(data=data)


def settings_of_store(data: Path | None) -> Settings:
    """Read the settings for a command that works on a gallery which is there.

    Raises:
        SettingsInvalid: A setting cannot be used.
        StoreMissing: The gallery would be in the data folder, and is not.
    """
    from service.database.sqlite.engine import FILE  # noqa: PLC0415 - as above

    settings = settings_for(data)
    folder = settings.storage.data
    if settings.database.url is None and not (folder / FILE).is_file():
        raise StoreMissing(
            f"there is no gallery in {folder.absolute()}: name its folder with --data or FACET_DATA "
            "(`facet serve` makes one)"
        )
    return settings
