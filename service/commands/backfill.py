"""`facet reembed`: a new model's templates for people who are enrolled already."""

from __future__ import annotations

import getpass
from collections.abc import Iterator
from contextlib import closing, contextmanager
from typing import Annotated

import sqlalchemy as sa
import typer
from rich.console import Console
from rich.table import Table

from service.commands.settings import DataOption, settings_for
from service.database.transaction import storage_errors
from service.face.registry import Registry
from service.gallery import template_coverage as covering
from service.gallery_factory import connect_database, open_gallery
from service.models import digests_of_space, load_models
from service.rollout.backfill.jobs import CANCELLED, Job, end_job, list_jobs, start_job
from service.rollout.backfill.reembeddings import Reembeddings
from service.rollout.roles import Roles
from service.settings import Settings

app = typer.Typer(
    help="A new model's templates for people who are enrolled already. Works beside a running service, except `drop`.",
    no_args_is_help=True,
)
ModelArgument = Annotated[str, typer.Argument(help="Model, as `name` or `name@version`.")]
CollectionOption = Annotated[str | None, typer.Option(help="Only this collection. Default: all.")]


@app.command()
def coverage(model: ModelArgument, data: DataOption = None) -> None:
    """Count whom a model can find, collection by collection, and how the others could be reached."""
    settings = settings_for(data)
    registry = Registry.scan(settings.model_directories)
    manifest = registry.find(model).manifest
    space = digests_of_space(manifest, [folder.manifest for folder in registry.folders("embedder")])
    with _record(settings) as engine, storage_errors(), engine.connect() as connection:
        found = covering.cover(connection, manifest.sha256, space)
    table = Table("collection", "faces", "own templates", "by its space", "from crops", "out of reach", "to be seen")
    for each in found:
        counts = (each.faces, each.templates, each.shared, each.from_crops, each.out_of_reach, each.to_be_seen)
        table.add_row(each.collection, *map(str, counts))
    Console().print(table)


@app.command()
def start(
    model: ModelArgument,
    collection: CollectionOption = None,
    rate: Annotated[float | None, typer.Option(min=0.01, help="Faces a second. Default: FACET_REEMBED_RATE.")] = None,
    data: DataOption = None,
) -> None:
    """Ask the service to make a model's templates from kept crops; it begins within a second, or when it starts."""
    settings = settings_for(data)
    digest = Registry.scan(settings.model_directories).find(model).manifest.sha256
    principal = f"command:{getpass.getuser()}"
    with _record(settings) as engine, storage_errors(), _writing(engine) as connection:
        job = start_job(connection, principal, digest, collection, rate or settings.rollout.reembed_rate)
    typer.echo(f"job {job.id}: {job.total} faces")


@app.command()
def status(data: DataOption = None) -> None:
    """Show the jobs and how far they are, the newest first."""
    settings = settings_for(data)
    names = {f.manifest.sha256: f.manifest.identity for f in Registry.scan(settings.model_directories).folders()}
    with _record(settings) as engine:
        jobs = list_jobs(engine).items
    table = Table("job", "model", "collection", "state", "faces", "made", "failed", "left", "a second")
    for job in jobs:
        table.add_row(job.id, names.get(job.model, job.model[:12]), job.collection or "all", job.state, *_counts(job))
    Console(width=140).print(table)


@app.command()
def cancel(job: Annotated[str, typer.Argument(help="Id of the job.")], data: DataOption = None) -> None:
    """End a job. The templates it made stay."""
    with _record(settings_for(data)) as engine, storage_errors(), _writing(engine) as connection:
        ended = end_job(connection, job, CANCELLED)
    typer.echo(f"cancelled after {ended.made} of {ended.total}")


@app.command()
def drop(
    model: ModelArgument,
    collection: CollectionOption = None,
    data: DataOption = None,
) -> None:
    """Drop every template of a model that the champion does not need. The service must be stopped."""
    settings = settings_for(data)
    registry = Registry.scan(settings.model_directories)
    digest = registry.find(model).manifest.sha256
    models = load_models(registry, settings.inference)
    with closing(open_gallery(settings)) as gallery:
        receipt = Reembeddings(models, gallery.database, Roles(models, gallery.database)).drop(digest, collection)
    typer.echo(f"{receipt.templates} templates dropped, receipt {receipt.id}")


@contextmanager
def _record(settings: Settings) -> Iterator[sa.Engine]:
    engine = connect_database(settings)
    try:
        yield engine
    finally:
        engine.dispose()


@contextmanager
def _writing(engine: sa.Engine) -> Iterator[sa.Connection]:
    with engine.connect().execution_options(immediate=True) as connection, connection.begin():
        yield connection


def _counts(job: Job) -> tuple[str, ...]:
    return tuple(map(str, (job.total, job.made, job.failed, job.left, f"{job.rate:g}")))
