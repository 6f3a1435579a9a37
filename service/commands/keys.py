"""`facet keys`: make, list and revoke keys. Works beside a running service, which follows at once."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict
from datetime import UTC, datetime, timedelta
from typing import Annotated

import sqlalchemy as sa
import typer

from service.commands.terminal.database import connected
from service.commands.terminal.group import command_group
from service.commands.terminal.listing import JsonOption, print_list
from service.commands.terminal.names import spell
from service.commands.terminal.settings import DataOption, settings_of_store
from service.database.audit_log import note
from service.database.schema import collections as collections_table
from service.database.transaction import storage_errors
from service.keys import Key, Keys, Scope

MOST_DAYS = 36_500

app = command_group("Make, list and revoke keys; a running service follows at once.")


@app.command()
def create(
    name: Annotated[str, typer.Argument(help="What the key is for.")],
    scope: Annotated[list[Scope], typer.Option(help="What it may do; give it several times.")],
    collection: Annotated[
        list[str] | None,
        typer.Option(callback=spell, help="Collection it may touch; give it several times. Default: all."),
    ] = None,
    days: Annotated[
        int | None, typer.Option(min=1, max=MOST_DAYS, help="Days until it expires. Default: never.")
    ] = None,
    data: DataOption = None,
) -> None:
    """Make a key and print it, this once; only its hash is kept."""
    collection = collection or []
    if not name.strip():
        raise typer.BadParameter("a key needs a name that says what it is for")
    with connected(settings_of_store(data)) as engine:
        _require_collections(engine, collection)
        lifetime = None if days is None else timedelta(days=days)
        key, text = Keys(engine).create(name.strip(), scope, collection or None, lifetime)
        typer.echo(text)  # before anything else can fail: it is the only copy
        note(engine, "create_key", " ".join(sorted(scope))[:64], key.id)
    typer.echo(f"Key {key.id} made for {key.name!r}. It cannot be shown again.", err=True)


@app.command("list")
def list_keys(as_json: JsonOption = False, data: DataOption = None) -> None:
    """Show all keys, without their secrets."""
    with connected(settings_of_store(data)) as engine:
        keys = Keys(engine).list()
    columns = ("id", "name", "scopes", "collections", "created", "state")
    print_list(columns, [_row(key) for key in keys], [asdict(key) | {"state": _state(key)} for key in keys], as_json)


@app.command()
def revoke(
    key_id: Annotated[str, typer.Argument(metavar="ID", help="The key's id, as `facet keys list` shows it.")],
    data: DataOption = None,
) -> None:
    """End a key, at once and for good."""
    with connected(settings_of_store(data)) as engine:
        Keys(engine).revoke(key_id)
        note(engine, "revoke_key", target=key_id)
    typer.echo(f"Key {key_id} is revoked.", err=True)


def _require_collections(engine: sa.Engine, names: Sequence[str]) -> None:
    """A key for a collection that is misspelt would be refused everywhere."""
    with storage_errors(), engine.connect() as connection:
        known = sorted(connection.scalars(sa.select(collections_table.c.name)))
    unknown = [name for name in names if name not in known]
    if unknown:
        raise typer.BadParameter(
            f"no collection {', '.join(map(repr, unknown))}; there are: {', '.join(known) or 'none'}"
        )


def _row(key: Key) -> tuple[str, ...]:
    collections = "all" if key.collections is None else ", ".join(sorted(key.collections))
    scopes = ", ".join(sorted(key.scopes))
    return key.id, key.name, scopes, collections, f"{key.created_at:%Y-%m-%d %H:%M}", _state(key)


def _state(key: Key) -> str:
    if key.revoked_at is not None:
        return f"revoked {key.revoked_at:%Y-%m-%d}"
    if key.expires_at is None:
        return "valid"
    return f"{'expired' if key.expires_at <= datetime.now(UTC) else 'valid until'} {key.expires_at:%Y-%m-%d}"
