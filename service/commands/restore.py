"""`facet restore`: a backup into a data folder."""

from __future__ import annotations

from typing import Annotated

import typer

from service.commands.backup import FileArgument, own_folder, tell
from service.commands.terminal.database import connected
from service.commands.terminal.settings import DataOption, settings_for
from service.database.audit_log import note
from service.database.sqlite.backup import restore


def restore_(
    file: FileArgument,
    replace: Annotated[bool, typer.Option(help="Also where a database is, which is lost.")] = False,
    data: DataOption = None,
) -> None:
    """Put a backup into the data folder; the service must be stopped. Who was erased since is erased in it again."""
    settings = settings_for(data)
    content = restore(own_folder(settings), file, replace=replace)
    with connected(settings) as engine:
        note(engine, "restore", target=file.name[:255])
    tell("restored", content)
    if content.erased_again:
        typer.echo(f"{content.erased_again} people or faces were erased after the backup, and are erased again")
