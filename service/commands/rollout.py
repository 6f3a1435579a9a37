"""`facet compare` and `facet comparison`: models measured on photographs, and on what they decided live."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.console import Console
from rich.progress import Progress
from rich.table import Table

from service.commands.settings import DataOption, settings_for
from service.face.image import ImageLimits
from service.face.quality import QualityLimits
from service.face.registry import Registry
from service.gallery_factory import connect_database
from service.models import Models
from service.pipeline import Perception
from service.rollout.decision_log import LogQuery, flat_fields, read_decisions
from service.rollout.errors import ChallengerMissing
from service.rollout.offline.footprint import measure_footprint
from service.rollout.offline.measure import Measurement, measure
from service.rollout.offline.photographs import read_pairs, read_people
from service.rollout.offline.plots import plot_measurement, plot_report
from service.rollout.offline.tables import (
    Rows,
    agreement_rows,
    comma_separated,
    measurement_markdown,
    model_rows,
    report_markdown,
)
from service.rollout.report import report as make_report
from service.rollout.roles import last_assignment

app = typer.Typer(help="What champion and challenger made of live requests.", no_args_is_help=True)

MarkdownOption = Annotated[Path | None, typer.Option("--markdown", help="File to write the tables to, as Markdown.")]

PlotsOption = Annotated[Path | None, typer.Option("--plots", help="Folder to write plots to; needs matplotlib.")]


def compare(
    models: Annotated[list[str], typer.Argument(help="Embedders, as `name` or `name@version`.")],
    pairs: Annotated[
        Path | None, typer.Option(help="List of pairs: CSV with first, second, genuine; or LFW's layout.")
    ] = None,
    people: Annotated[Path | None, typer.Option(help="Folder that holds a folder for each person.")] = None,
    detector: Annotated[str | None, typer.Option(help="Face detector. Default: FACET_DETECTOR.")] = None,
    markdown: MarkdownOption = None,
    csv: Annotated[Path | None, typer.Option("--csv", help="File to write the models' table to, as CSV.")] = None,
    plots: PlotsOption = None,
    data: DataOption = None,
) -> None:
    """Measure models side by side on photographs, by the code that serves: accuracy, speed, memory, agreement."""
    if (pairs is None) == (people is None):
        raise typer.BadParameter("give --pairs or --people, exactly one of them")
    settings = settings_for(data)
    registry = Registry.scan(settings.model_directories)
    photographs = read_pairs(pairs) if pairs is not None else read_people(people or Path())
    loaded = Models.load(registry, detector or settings.inference.detector, models)
    limits = ImageLimits(max_bytes=settings.limits.max_image_bytes, max_pixels=settings.limits.max_image_pixels)
    perception = Perception(loaded.detector, limits, QualityLimits())
    with Progress(console=Console(stderr=True), transient=True) as progress:
        tasks = {
            name: progress.add_task(name) for name in ("faces", *(each.manifest.identity for each in loaded.embedders))
        }
        made = measure(
            photographs,
            perception,
            loaded.embedders,
            {each.digest: measure_footprint(registry.find(each.manifest.identity).path) for each in loaded.embedders},
            lambda what, done, total: progress.update(tasks[what], completed=done, total=total),
        )
    _show(made)
    if markdown is not None:
        markdown.write_text(measurement_markdown(made), encoding="utf-8")
    if csv is not None:
        csv.write_text(comma_separated(model_rows(made)), encoding="utf-8")
    if plots is not None:
        plot_measurement(made, plots)


@app.command("report")
def report_live(
    champion: Annotated[str | None, typer.Option(help="Model that answered. Default: the champion now.")] = None,
    challenger: Annotated[str | None, typer.Option(help="Model that was tried. Default: the challenger now.")] = None,
    since: Annotated[datetime | None, typer.Option(help="Cases from this moment on, in UTC.")] = None,
    until: Annotated[datetime | None, typer.Option(help="Cases before this moment, in UTC.")] = None,
    collection: Annotated[str | None, typer.Option(help="Cases of this collection.")] = None,
    markdown: MarkdownOption = None,
    csv: Annotated[Path | None, typer.Option("--csv", help="File to write the cases to, as CSV.")] = None,
    plots: PlotsOption = None,
    data: DataOption = None,
) -> None:
    """Report how two models decided the same live requests. Works beside a running service."""
    settings = settings_for(data)
    registry = Registry.scan(settings.model_directories)
    engine = connect_database(settings)
    try:
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
            since and since.replace(tzinfo=UTC),
            until and until.replace(tzinfo=UTC),
            collections=None if collection is None else frozenset({collection}),
        )
        decisions = read_decisions(engine, query)
    finally:
        engine.dispose()
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


def _show(made: Measurement) -> None:
    console = Console()
    for rows in (model_rows(made), agreement_rows(made)):
        table = Table(*rows[0])
        for row in rows[1:]:
            table.add_row(*row)
        if len(rows) > 1:
            console.print(table)
