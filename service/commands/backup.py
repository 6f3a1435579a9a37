"""`facet backup`: the database of a data folder as one checked file."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from service.commands.terminal.database import connected
from service.commands.terminal.settings import DataOption, settings_of_store
from service.database.audit_log import note
from service.database.errors import BackupInvalid
from service.database.sqlite.backup import BackupContent, back_up
from service.settings import Settings

FileArgument = Annotated[Path, typer.Argument(metavar="FILE", help="The backup.")]


def backup(file: FileArgument, data: DataOption = None) -> None:
    """Copy the database to a new file, beside a running service: people, templates, keys, audit log, receipts.

    Models are not in it: copy <data>/models yourself. The copy holds templates as the database does, sealed or not.
    """
    settings = settings_of_store(data)
    content = back_up(own_folder(settings), file)
    with connected(settings) as engine:
        note(engine, "backup", target=file.name[:255])
    tell("backed up", content)


def own_folder(settings: Settings) -> Path:
    """Return the folder of the database. Raises: BackupInvalid when a server keeps it."""
    if settings.database.url is not None:
        raise BackupInvalid("The gallery is kept by PostgreSQL: back it up with pg_dump, and restore with pg_restore.")
    return settings.storage.data


def tell(what: str, content: BackupContent) -> None:
    """Print what a backup holds."""
    typer.echo(f"{what}: " + ", ".join(f"{count} {table}" for table, count in content.rows.items()))
