"""`facet enroll`: people from folders or lists, through a running service or into a stopped store."""

from __future__ import annotations

import json
import os
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from service.bulk.enrolment import Choices, Enroller, divide, enroll_all
from service.bulk.people import read_people
from service.bulk.record import Record
from service.bulk.report import KEPT_OUT, Report
from service.bulk.server import Server
from service.bulk.through_server import ServerEnroller
from service.commands.terminal.bars import counting_bar, resumable
from service.commands.terminal.choices import DuplicateChoice, FaceChoice, QualityChoice
from service.commands.terminal.listing import print_table
from service.commands.terminal.names import spell
from service.commands.terminal.outputs import check_file
from service.commands.terminal.server import KeyOption, ServerOption, count_at_once
from service.commands.terminal.settings import DataOption, settings_of_store

if TYPE_CHECKING:
    from service.settings import Settings

PRIVATE = 0o077
"""Nobody else on this machine reads what is written into a store: templates are biometric data."""


def enroll(
    source: Annotated[
        Path,
        typer.Argument(
            metavar="FOLDER|CSV",
            exists=True,
            help="Folder with a folder for each person; or CSV with the columns subject and image (a file relative to "
            "the list), perhaps expires_at, all others being facts to keep.",
        ),
    ],
    collection: Annotated[str, typer.Option(callback=spell, help="Collection to enrol in.")] = "default",
    server: ServerOption = None,
    key: KeyOption = None,
    data: DataOption = None,
    faces: Annotated[
        FaceChoice, typer.Option(help="`single` refuses photographs of several people, `prominent` takes the largest.")
    ] = FaceChoice.SINGLE,
    quality: Annotated[
        QualityChoice | None,
        typer.Option(help="`enforce` refuses unfit faces, `report` enrols them. Default: what the service does."),
    ] = None,
    duplicate: Annotated[
        DuplicateChoice, typer.Option(help="What to do with a face that belongs to somebody else already.")
    ] = DuplicateChoice.ALLOW,
    model: Annotated[str | None, typer.Option(help="Model that judges faces. Default: the one that answers.")] = None,
    parallel: Annotated[
        int | None, typer.Option(min=1, max=64, help="Requests at once. Default: twice the cores of this machine.")
    ] = None,
    record: Annotated[
        Path | None,
        typer.Option(
            callback=check_file,
            help="File that keeps what is done, to go on after it. Default: <FOLDER or CSV>.enrolled.jsonl, here.",
        ),
    ] = None,
    retry_refused: Annotated[
        bool, typer.Option("--retry-refused", help="Send again what an earlier run saw refused.")
    ] = False,
    csv: Annotated[
        Path | None, typer.Option("--csv", callback=check_file, help="File to write a row for each photograph to.")
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print the report as JSON instead of a table.")] = False,
) -> None:
    """Enrol many people: through a running service (--server), or into the store of one that is stopped (--data).

    Interrupted, it goes on when it is run again, and enrols nothing twice. Ends with status 3 when photographs were
    refused or could not be read: the report names each of them.
    """
    if server is not None and data is not None:
        raise typer.BadParameter("give --server (or FACET_SERVER) or --data, not both")
    people = read_people(source)
    choices = Choices(collection, faces.value, None if quality is None else quality.value, duplicate.value, model)
    place = check_file(record or Path(f"{source.resolve().name}.enrolled.jsonl"))
    assert place is not None  # noqa: S101 - a path is given back as it came
    with _enroller(server, key, data, choices, parallel) as (enroller, at_once):
        portions = divide(people)
        begun = time.perf_counter()
        with Record(place, enroller.target) as done, resumable(place), counting_bar() as bar:
            task = bar.add_task("photographs", total=sum(len(each.files) for each in portions))
            outcomes = list(
                enroll_all(
                    portions, enroller, done, at_once, choices, retry_refused, lambda count: bar.advance(task, count)
                )
            )
    report = Report(outcomes, time.perf_counter() - begun)
    if csv is not None:
        report.write_csv(csv)
    _show(report, as_json)
    if report.kept_out:
        raise typer.Exit(KEPT_OUT)


@contextmanager
def _enroller(
    server: str | None, key: str | None, data: Path | None, choices: Choices, parallel: int | None
) -> Iterator[tuple[Enroller, int]]:
    """Open where people are enrolled, and say how many batches it takes at once."""
    at_once = parallel or count_at_once()
    if server is not None:
        with Server(server, key, at_once) as running:
            running.check()
            yield ServerEnroller(running, choices), at_once
        return
    with _store(settings_of_store(data), choices) as enroller:
        yield enroller, at_once


@contextmanager
def _store(settings: Settings, choices: Choices) -> Iterator[Enroller]:
    import cv2  # noqa: PLC0415 - the service, which work through a server goes without
    from sqlalchemy import make_url  # noqa: PLC0415

    from service.app import Series, opened  # noqa: PLC0415
    from service.bulk.into_store import StoreEnroller  # noqa: PLC0415

    cv2.setNumThreads(1)
    os.umask(PRIVATE)
    store = make_url(settings.database.url) if settings.database.url else settings.storage.data.absolute()
    with opened(settings, Series.register(settings.limits.metric_collections)) as services:
        services.gallery.collection(choices.collection)  # before any photograph is looked at
        yield StoreEnroller(services.engine, services.observers, str(store), choices)


def _show(report: Report, as_json: bool) -> None:
    if as_json:
        typer.echo(json.dumps(report.document(), indent=2, ensure_ascii=False))
        return
    if rows := report.rows():
        print_table(("person", "file", "code", "why"), rows)
    typer.echo(report.summary())
