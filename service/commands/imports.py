"""`facet import`: people from other services."""

from __future__ import annotations

import json
import os
from contextlib import suppress
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console

from service.commands.compreface.api_source import ApiSource
from service.commands.compreface.dump_source import DumpSource
from service.commands.compreface.importing import Importer, ImportReport
from service.commands.compreface.source import Source, SourceInvalid
from service.commands.gallery import opened
from service.commands.terminal.group import command_group
from service.commands.terminal.names import spell
from service.commands.terminal.outputs import check_file
from service.commands.terminal.settings import DataOption, settings_for
from service.database.audit_log import note
from service.engine.engine import Engine, EngineLimits
from service.face.decoding.image import ImageLimits
from service.face.quality import QualityLimits
from service.face.registry import Registry
from service.gallery.errors import CollectionExists
from service.models import load_models
from service.pipeline import Perception

SHOWN = 20
PRIVATE = 0o077

app = command_group("Bring people from other services.")


@app.command()
def compreface(
    source: Annotated[
        str,
        typer.Argument(metavar="SOURCE", help="Address of a running instance, or file of a plain pg_dump."),
    ],
    collection: Annotated[
        str, typer.Option(callback=spell, help="Collection to import into; made if need be, with kept crops.")
    ],
    api_key: Annotated[
        str | None,
        typer.Option(envvar="COMPREFACE_API_KEY", help="Key of CompreFace's recognition service, for an address."),
    ] = None,
    service: Annotated[str | None, typer.Option(help="Name or key of the service, where a dump holds several.")] = None,
    enforce: Annotated[bool, typer.Option("--enforce", help="Refuse faces that are unfit for comparison.")] = False,
    report: Annotated[
        Path | None, typer.Option(callback=check_file, help="File to write the whole report to, as JSON.")
    ] = None,
    data: DataOption = None,
) -> None:
    """Enrol everybody of a CompreFace service anew, from their pictures. Run again it goes on. Facet must be stopped.

    Embeddings are not taken over: they are of another model. Faces without a picture are listed.
    """
    people = _source_of(source, api_key, service)
    settings = settings_for(data)
    os.umask(PRIVATE)
    with opened(settings) as gallery:
        with suppress(CollectionExists):
            gallery.create_collection(collection, keep_crops=True)
        models = load_models(Registry.scan(settings.model_directories), settings.inference)
        limits = ImageLimits(settings.limits.max_image_bytes, settings.limits.max_image_pixels)
        engine = Engine(
            models,
            Perception(models.detector, limits, QualityLimits()),
            gallery,
            EngineLimits(default_fmr=settings.decisions.default_fmr),
        )
        done = ImportReport()
        try:
            with Console(stderr=True).status("") as status:
                Importer(engine, models.default, collection, enforce).run(
                    people, done, lambda: status.update(f"{done.read} faces read, {done.imported} imported")
                )
        finally:  # those who came over before it stopped are enrolled
            _tell(done)
            if report is not None:
                _write(report, done)
            note(gallery.database.engine, "import", f"{done.imported} faces", f"compreface to {collection}"[:255])


def _write(path: Path, done: ImportReport) -> None:
    text = json.dumps(done.as_json(), indent=2, ensure_ascii=False) + "\n"
    path.write_text(text, encoding="utf-8", errors="backslashreplace")  # as JSON writes what is no UTF-8


def _source_of(source: str, api_key: str | None, service: str | None) -> Source:
    """What the argument names. Raises: SourceInvalid."""
    if source.startswith(("http://", "https://")):
        if api_key is None:
            raise SourceInvalid("an address needs the service's key: set COMPREFACE_API_KEY, or give --api-key")
        return ApiSource(source, api_key)
    path = Path(source)
    if not path.is_file():
        raise SourceInvalid(f"{source} is neither an address (http://...) nor a file")
    return DumpSource(path, service)


def _tell(done: ImportReport) -> None:
    typer.echo(
        f"{done.subjects} subjects, {done.read} faces: {done.imported} imported, {done.present} were there already, "
        f"{len(done.without_image)} without a picture, {len(done.refused)} refused"
    )
    for name in done.names[:SHOWN]:
        typer.echo(f"the name {name!r} cannot be given here: rename the subject in CompreFace", err=True)
    for example in done.without_image[:SHOWN]:
        typer.echo(f"{example.image_id} of {example.subject}: no picture was kept; enrol the person again", err=True)
    for refusal in done.refused[:SHOWN]:
        typer.echo(f"{refusal.image_id} of {refusal.subject}: {refusal.code}: {refusal.reason}", err=True)
    if max(len(done.names), len(done.without_image), len(done.refused)) > SHOWN:
        typer.echo("more than these: --report FILE lists all", err=True)
