"""`facet audit`: who asked what of whom. Works beside a running service."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import asdict
from datetime import datetime
from typing import Annotated, Any

import sqlalchemy as sa
import typer

from service.commands.terminal.database import connected
from service.commands.terminal.listing import print_table
from service.commands.terminal.moments import moment_option
from service.commands.terminal.names import spell
from service.commands.terminal.settings import DataOption, settings_of_store
from service.database.audit_log import AuditQuery, LoggedEntry, read_audit

PAGE = 1000
COLUMNS = ("at", "principal", "action", "outcome", "collection", "target", "model", "threshold", "request_id")


def list_audit(
    since: Annotated[datetime | None, moment_option("Entries from this moment on.")] = None,
    until: Annotated[datetime | None, moment_option("Entries before this moment.")] = None,
    principal: Annotated[str | None, typer.Option(help="Entries of this caller, as `key:<id>`.")] = None,
    action: Annotated[str | None, typer.Option(help="Entries of this action, as `verify` or `list_subjects`.")] = None,
    target: Annotated[str | None, typer.Option(help="Entries about this id: of a subject, a face or a key.")] = None,
    collection: Annotated[str | None, typer.Option(callback=spell, help="Entries about this collection.")] = None,
    limit: Annotated[int, typer.Option(min=1, help="Most entries in the table; with --json all are printed.")] = 100,
    as_json: Annotated[bool, typer.Option("--json", help="Print all, one JSON object a line: the way out.")] = False,
    data: DataOption = None,
) -> None:
    """Print the audit log, the newest entry first: who asked what of whom, by ids, without biometric data."""
    query = AuditQuery(
        since=since,
        until=until,
        principal=principal,
        action=action,
        target=target,
        collections=None if collection is None else frozenset({collection}),
    )
    with connected(settings_of_store(data)) as engine:
        if as_json:
            for entry in _all(engine, query):
                typer.echo(json.dumps(asdict(entry) | {"at": entry.at.isoformat()}, ensure_ascii=False))
            return
        entries = read_audit(engine, query, None, limit).items
    print_table(COLUMNS, [_row(entry) for entry in entries])


def _all(engine: sa.Engine, query: AuditQuery) -> Iterator[LoggedEntry]:
    cursor: str | None = None
    while True:
        page = read_audit(engine, query, cursor, PAGE)
        yield from page.items
        if (cursor := page.next_cursor) is None:
            return


def _row(entry: LoggedEntry) -> list[Any]:
    values = asdict(entry) | {"at": f"{entry.at:%Y-%m-%d %H:%M:%S}"}
    return ["" if values[column] is None else values[column] for column in COLUMNS]
