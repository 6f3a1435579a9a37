"""`facet comparison`: what champion and challenger decided on live requests."""

from __future__ import annotations

from datetime import datetime
from pathlib import Path
from typing import Annotated, Any

import typer

from service.bulk.spreadsheets import comma_separated
from service.commands.terminal.database import connected
from service.commands.terminal.group import command_group
from service.commands.terminal.moments import moment_option
from service.commands.terminal.names import spell
from service.commands.terminal.outputs import MarkdownOption, PlotsOption, check_file
from service.commands.terminal.settings import DataOption, settings_of_store
from service.face.registry import Registry
from service.rollout.decision_log import LogQuery, flat_fields, read_decisions
from service.rollout.errors import ChallengerMissing
from service.rollout.offline.plots import plot_report
from service.rollout.offline.tables import Rows, report_markdown
from service.rollout.report import report as make_report
from service.rollout.roles import last_assignment

app = command_group("What champion and challenger decided on live requests.")


@app.command("report")
def report_live(
    champion: Annotated[str | None, typer.Option(help="Model that answered. Default: the champion now.")] = None,
    challenger: Annotated[str | None, typer.Option(help="Model that was tried. Default: the challenger now.")] = None,
    since: Annotated[datetime | None, moment_option("Decisions from this moment on.")] = None,
    until: Annotated[datetime | None, moment_option("Decisions before this moment.")] = None,
    collection: Annotated[str | None, typer.Option(callback=spell, help="Decisions of this collection.")] = None,
    markdown: MarkdownOption = None,
    csv: Annotated[
        Path | None, typer.Option("--csv", callback=check_file, help="File to write the decisions to, as CSV.")
    ] = None,
    plots: PlotsOption = None,
    data: DataOption = None,
) -> None:
    """Report how two models decided the same live requests. Works beside a running service."""
    settings = settings_of_store(data)
    registry = Registry.scan(settings.model_directories)
    with connected(settings) as engine:
        with engine.connect() as connection:
            roles = last_assignment(connection)
        first, second = (roles.champion, roles.challenger) if roles else (None, None)
        first = registry.find(champion).manifest.sha256 if champion else first
        second = registry.find(challenger).manifest.sha256 if challenger else second
        if first is None:
            raise ChallengerMissing
        query = LogQuery(
            first,
            second,
            since,
            until,
            collections=None if collection is None else frozenset({collection}),
        )
        decisions = read_decisions(engine, query)
    names = {folder.manifest.sha256: folder.manifest.identity for folder in registry.folders("embedder")}
    named = [None if digest is None else names.get(digest, digest[:12]) for digest in (first, second)]
    text = report_markdown(make_report(decisions), named[0] or "", named[1])
    if markdown is None:
        typer.echo(text)
    else:
        markdown.write_text(text, encoding="utf-8")
    if csv is not None:
        csv.write_text(comma_separated(_rows([each.flat() for each in decisions])), encoding="utf-8")
    if plots is not None:
        if named[1] is None:
            raise ChallengerMissing
        plot_report(decisions, named[0] or "", named[1], plots)


def _rows(records: list[dict[str, Any]]) -> Rows:
    return [flat_fields(), *(["" if value is None else str(value) for value in record.values()] for record in records)]
