"""Where a command writes its results: checked before the work is begun."""

from __future__ import annotations

import importlib.util
import os
from pathlib import Path
from typing import Annotated

import typer


def check_file(path: Path | None) -> Path | None:
    """Give back a path to which a file can be written.

    Raises:
        typer.BadParameter: It is a folder, or its folder is not there or may not be written.
    """
    if path is not None:
        if path.is_dir():
            raise typer.BadParameter(f"{path} is a folder")
        _check_writable(path.absolute().parent)
    return path


def check_new_file(path: Path) -> Path:
    """Give back a path that a new file can be written to.

    Raises:
        typer.BadParameter: As of `check_file`, or there is a file already.
    """
    if path.is_file():
        raise typer.BadParameter(f"{path} is there already: remove it, or name another file")
    check_file(path)
    return path


def check_plots(folder: Path | None) -> Path | None:
    """Give back a folder that plots can be written to; it need not be there.

    Raises:
        typer.BadParameter: It cannot be made or written, or matplotlib is not installed.
    """
    if folder is not None:
        nearest = next(place for place in (folder.absolute(), *folder.absolute().parents) if place.exists())
        _check_writable(nearest)
        if importlib.util.find_spec("matplotlib") is None:
            raise typer.BadParameter("plots need matplotlib: pip install matplotlib")
    return folder


def _check_writable(folder: Path) -> None:
    if not folder.is_dir():
        raise typer.BadParameter(f"there is no folder {folder}")
    if not os.access(folder, os.W_OK):
        raise typer.BadParameter(f"the folder {folder} may not be written")


MarkdownOption = Annotated[
    Path | None, typer.Option("--markdown", callback=check_file, help="File to write the tables to, as Markdown.")
]
PlotsOption = Annotated[
    Path | None, typer.Option("--plots", callback=check_plots, help="Folder to write plots to; needs matplotlib.")
]
