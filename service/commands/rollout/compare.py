"""`facet compare`: models measured side by side on photographs."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console
from rich.progress import Progress

from service.bulk.spreadsheets import comma_separated
from service.commands.terminal.listing import print_table
from service.commands.terminal.outputs import MarkdownOption, PlotsOption, check_file
from service.commands.terminal.settings import DataOption, settings_for
from service.face.decoding.image import ImageLimits
from service.face.quality import QualityLimits
from service.face.registry import Registry
from service.models import Models
from service.pipeline import Perception
from service.rollout.offline.footprint import measure_footprint
from service.rollout.offline.measure import Measurement, measure
from service.rollout.offline.photographs import read_pairs, read_people
from service.rollout.offline.plots import plot_measurement
from service.rollout.offline.tables import agreement_rows, measurement_markdown, model_rows

SHOWN = 20
"""Photographs without a template that are named."""


def compare(
    models: Annotated[list[str], typer.Argument(help="Embedders, as `name` or `name@version`.")],
    pairs: Annotated[
        Path | None,
        typer.Option(
            exists=True, dir_okay=False, help="List of pairs: CSV with first, second, genuine; or LFW's layout."
        ),
    ] = None,
    people: Annotated[
        Path | None, typer.Option(exists=True, file_okay=False, help="Folder that holds a folder for each person.")
    ] = None,
    detector: Annotated[str | None, typer.Option(help="Face detector. Default: FACET_DETECTOR.")] = None,
    markdown: MarkdownOption = None,
    csv: Annotated[
        Path | None, typer.Option("--csv", callback=check_file, help="File to write the models' table to, as CSV.")
    ] = None,
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
        measurement = measure(
            photographs,
            perception,
            loaded.embedders,
            {each.digest: measure_footprint(registry.find(each.manifest.identity).path) for each in loaded.embedders},
            lambda what, done, total: progress.update(tasks[what], completed=done, total=total),
        )
    _show(measurement)
    if markdown is not None:
        markdown.write_text(measurement_markdown(measurement), encoding="utf-8")
    if csv is not None:
        csv.write_text(comma_separated(model_rows(measurement)), encoding="utf-8")
    if plots is not None:
        plot_measurement(measurement, plots)


def _show(measurement: Measurement) -> None:
    for failure in measurement.failures[:SHOWN]:
        typer.echo(f"left out: {failure.file}: {failure.error.code}: {failure.error}", err=True)
    if (more := len(measurement.failures) - SHOWN) > 0:
        typer.echo(f"left out: {more} more", err=True)
    for rows in (model_rows(measurement), agreement_rows(measurement)):
        if len(rows) > 1:
            print_table(rows[0], rows[1:])
