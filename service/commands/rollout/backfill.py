"""`facet reembed`: a new model's templates for people who are enrolled already."""

from __future__ import annotations

from contextlib import closing
from dataclasses import asdict
from typing import Annotated

import typer

from service.commands.terminal.database import connected, writing
from service.commands.terminal.group import command_group
from service.commands.terminal.listing import JsonOption, print_list
from service.commands.terminal.names import spell
from service.commands.terminal.settings import DataOption, settings_of_store
from service.database.audit_log import name_principal
from service.database.transaction import storage_errors
from service.face.registry import Registry
from service.gallery import template_coverage as covering
from service.rollout.backfill.jobs import CANCELLED, Job, end_job, list_jobs, start_job

app = command_group(
    "A new model's templates for people who are enrolled already. Works beside a running service, except `drop`."
)
ModelArgument = Annotated[str, typer.Argument(help="Model, as `name` or `name@version`.")]
CollectionOption = Annotated[str | None, typer.Option(callback=spell, help="Only this collection. Default: all.")]


@app.command()
def coverage(model: ModelArgument, as_json: JsonOption = False, data: DataOption = None) -> None:
    """Count whom a model can find, collection by collection, and how the others could be reached."""
    from service.models import digests_of_space  # noqa: PLC0415 - brings the models' runtime

    settings = settings_of_store(data)
    registry = Registry.scan(settings.model_directories)
    manifest = registry.find(model).manifest
    space = digests_of_space(manifest, [folder.manifest for folder in registry.folders("embedder")])
    with connected(settings) as engine, storage_errors(), engine.connect() as connection:
        covered = covering.cover(connection, manifest.sha256, space)
    columns = ("collection", "faces", "own templates", "by its space", "from crops", "out of reach", "to be seen")
    names = ("collection", "faces", "templates", "shared", "from_crops", "out_of_reach", "to_be_seen")
    records = [{name: getattr(each, name) for name in names} for each in covered]
    print_list(columns, [tuple(record.values()) for record in records], records, as_json)


@app.command()
def start(
    model: ModelArgument,
    collection: CollectionOption = None,
    rate: Annotated[float | None, typer.Option(min=0.01, help="Faces a second. Default: FACET_REEMBED_RATE.")] = None,
    data: DataOption = None,
) -> None:
    """Ask the service to make a model's templates from kept crops; it begins within a second, or when it starts."""
    settings = settings_of_store(data)
    digest = Registry.scan(settings.model_directories).find(model).manifest.sha256
    with storage_errors(), writing(settings) as connection:
        job = start_job(connection, name_principal(), digest, collection, rate or settings.rollout.reembed_rate)
    typer.echo(f"job {job.id}: {job.total} faces")


@app.command()
def status(as_json: JsonOption = False, data: DataOption = None) -> None:
    """Show the jobs and how far they are, the newest first."""
    settings = settings_of_store(data)
    names = {f.manifest.sha256: f.manifest.identity for f in Registry.scan(settings.model_directories).folders()}
    with connected(settings) as engine:
        jobs = list_jobs(engine).items
    columns = ("job", "model", "collection", "state", "faces", "made", "failed", "left", "a second")
    rows = [
        (job.id, names.get(job.model, job.model[:12]), job.collection or "all", job.state, *_counts(job))
        for job in jobs
    ]
    print_list(columns, rows, [asdict(job) | {"model_name": names.get(job.model)} for job in jobs], as_json)


@app.command()
def cancel(job: Annotated[str, typer.Argument(help="Id of the job.")], data: DataOption = None) -> None:
    """End a job. The templates it made stay."""
    with storage_errors(), writing(settings_of_store(data)) as connection:
        ended = end_job(connection, job, CANCELLED)
    typer.echo(f"cancelled after {ended.made} of {ended.total}")


@app.command()
def drop(
    model: ModelArgument,
    collection: CollectionOption = None,
    data: DataOption = None,
) -> None:
    """Drop every template of a model that the champion does not need. The service must be stopped."""
    from service.gallery_factory import open_gallery  # noqa: PLC0415 - no other command loads models or an index
    from service.models import load_models  # noqa: PLC0415
    from service.rollout.backfill.reembeddings import Reembeddings  # noqa: PLC0415
    from service.rollout.roles import Roles  # noqa: PLC0415

    settings = settings_of_store(data)
    registry = Registry.scan(settings.model_directories)
    digest = registry.find(model).manifest.sha256
    models = load_models(registry, settings.inference)
    with closing(open_gallery(settings)) as gallery:
        receipt = Reembeddings(models, gallery.database, Roles(models, gallery.database)).drop(digest, collection)
    typer.echo(f"{receipt.templates} templates dropped, receipt {receipt.id}")


def _counts(job: Job) -> tuple[str, ...]:
    return tuple(map(str, (job.total, job.made, job.failed, job.left, f"{job.rate:g}")))
