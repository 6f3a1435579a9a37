"""`facet keys`: make, list and revoke keys. Works beside a running service, which follows at once."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console
from rich.table import Table

from service.commands.settings import DataOption, settings_for
from service.gallery_factory import connect_database
from service.keys import Key, Keys, Scope

app = typer.Typer(help="Make, list and revoke keys; a running service follows at once.", no_args_is_help=True)


@app.command()
def create(
    name: Annotated[str, typer.Argument(help="What the key is for.")],
    scope: Annotated[list[Scope], typer.Option(help="What it may do; give it several times.")],
    collection: Annotated[
        list[str] | None, typer.Option(help="Collection it may touch; give it several times. Default: all.")
    ] = None,
    days: Annotated[int | None, typer.Option(min=1, help="Days until it expires. Default: never.")] = None,
    data: DataOption = None,
) -> None:
    """Make a key and print it, this once; only its hash is kept."""
    with _opened(data) as keys:
        lifetime = None if days is None else timedelta(days=days)
        key, text = keys.create(name, scope, collection or None, lifetime)
    typer.echo(text)
    typer.echo(f"Key {key.id} made for {key.name!r}. It cannot be shown again.", err=True)


@app.command("list")
def list_keys(data: DataOption = None) -> None:
    """Show all keys, without their secrets."""
    with _opened(data) as keys:
        found = keys.list()
    table = Table("id", "name", "scopes", "collections", "created", "state")
    for key in found:
        collections = "all" if key.collections is None else ", ".join(sorted(key.collections))
        scopes = ", ".join(sorted(key.scopes))
        table.add_row(key.id, key.name, scopes, collections, f"{key.created_at:%Y-%m-%d %H:%M}", _state(key))
    Console().print(table)


@app.command()
def revoke(
    key_id: Annotated[str, typer.Argument(metavar="ID", help="The key's id, as `facet keys list` shows it.")],
    data: DataOption = None,
) -> None:
    """End a key, at once and for good."""
    with _opened(data) as keys:
        keys.revoke(key_id)
    typer.echo(f"Key {key_id} is revoked.", err=True)


@contextmanager
def _opened(data: Path | None) -> Iterator[Keys]:
    engine = connect_database(settings_for(data))
    try:
        yield Keys(engine)
    finally:
        engine.dispose()


def _state(key: Key) -> str:
    if key.revoked_at is not None:
        return f"revoked {key.revoked_at:%Y-%m-%d}"
    if key.expires_at is None:
        return "valid"
    return f"{'expired' if key.expires_at <= datetime.now(UTC) else 'valid until'} {key.expires_at:%Y-%m-%d}"
