"""`facet gallery`: move, check, compact and measure what is enrolled."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn

from service.commands import gallery_bench
from service.commands.terminal.database import connected
from service.commands.terminal.group import command_group
from service.commands.terminal.listing import JsonOption, print_list
from service.commands.terminal.names import spell
from service.commands.terminal.outputs import check_new_file
from service.commands.terminal.settings import DataOption, settings_for, settings_of_store
from service.database.audit_log import note
from service.gallery.archive import exports, imports
from service.gallery.archive.format import signer
from service.gallery.archive.signature import SigningKeys
from service.gallery.gallery import Gallery
from service.gallery.maintenance.resealing import reseal
from service.gallery_factory import open_gallery
from service.index.base import Progress as Loading
from service.settings import Settings

app = command_group("Move, check, compact and measure what is enrolled.")
app.command()(gallery_bench.bench)
app.command()(gallery_bench.torture)
PRIVATE = 0o077
FileArgument = Annotated[Path, typer.Argument(metavar="FILE", exists=True, dir_okay=False, help="The archive.")]


@app.command()
def verify(data: DataOption = None) -> None:
    """Compare every index with the database, and the database with itself. The service must be stopped."""
    with opened(settings_of_store(data)) as gallery:
        report = gallery.verify()
    for problem in report.problems:
        typer.echo(problem, err=True)
    typer.echo(
        f"{report.templates} templates in {report.indexes} indexes compared in {report.seconds:.1f} s: "
        f"{'all agree' if report.sound else f'{len(report.problems)} problems'}"
    )
    if not report.sound:
        raise typer.Exit(1)


@app.command()
def compact(as_json: JsonOption = False, data: DataOption = None) -> None:
    """Bring templates into compressed segments, drop removed ones from the files. The service must be stopped."""
    with opened(settings_of_store(data)) as gallery:
        gallery.compact()
        sizes = gallery.counts.sizes()
    rows = [(size.collection, size.model[:12], size.templates, size.memory / 2**20) for size in sizes]
    names = ("collection", "model", "templates", "memory")
    records = [{name: getattr(size, name) for name in names} for size in sizes]
    print_list(("collection", "model", "templates", "MiB"), rows, records, as_json)


@app.command("reseal")
def reseal_(data: DataOption = None) -> None:
    """Encrypt all templates and crops with the first of FACET_TEMPLATE_KEYS; interrupted, it goes on when run again.

    The service must be stopped. With `none` in the first place everything is stored in the clear again.
    """
    settings = settings_of_store(data)
    with opened(settings) as gallery, Console(stderr=True).status("") as status:
        done = reseal(gallery, settings.storage.keyring, lambda count: status.update(f"{count} values"))
        note(gallery.database.engine, "reseal", f"{done} values")
    typer.echo(f"{done} values sealed again")


@app.command()
def export(
    file: Annotated[Path, typer.Argument(metavar="FILE", callback=check_new_file, help="A new file for the archive.")],
    collection: Annotated[
        list[str] | None, typer.Option(callback=spell, help="Collection to export; repeatable. Default: all.")
    ] = None,
    data: DataOption = None,
) -> None:
    """Write an archive: collections, subjects, faces, templates and kept crops. Works beside a running service.

    With FACET_ARCHIVE_KEYS it is signed. Templates leave in the clear: the file is for your user alone; keep it where
    only those may read it who may read the faces.
    """
    settings = settings_of_store(data)
    keys = settings.storage.signing_keys
    os.umask(PRIVATE)
    with connected(settings) as engine, _counting() as report:
        moved = exports.export(engine, file, collection, report, keyring=settings.storage.keyring, keys=keys)
        note(engine, "export", f"{moved.subjects} subjects", file.name[:255])
    _moved("exported", moved, keys, file)
    if moved.damaged:
        typer.echo(f"{moved.damaged} damaged templates were left out: `facet gallery verify` lists them", err=True)
        raise typer.Exit(1)


@app.command("import")
def import_(
    file: FileArgument,
    conflict: Annotated[
        imports.Rule, typer.Option(help="What to do with a subject that is there already.")
    ] = imports.Rule.STOP,
    data: DataOption = None,
) -> None:
    """Read an archive into the gallery; interrupted, it goes on when it is run again. The service must be stopped.

    With FACET_ARCHIVE_KEYS only an archive that is signed with one of them is taken.
    """
    settings = settings_for(data)
    keyring, keys = settings.storage.keyring, settings.storage.signing_keys
    with opened(settings) as gallery, _counting() as report:
        moved = imports.restore(gallery.database, file, conflict, report, keyring=keyring, keys=keys)
        gallery.erase_traces()  # of those who were replaced
        note(gallery.database.engine, "import", f"{moved.subjects} subjects", file.name[:255])
    _moved("imported", moved, keys, file)


@app.command()
def inspect(file: FileArgument) -> None:
    """Check an archive, with FACET_ARCHIVE_KEYS who signed it too, and say what it holds."""
    keys = settings_for(None).storage.signing_keys
    _moved("whole:", exports.inspect(file, keys), keys, file)


@contextmanager
def opened(settings: Settings) -> Iterator[Gallery]:
    """The gallery of some settings, with a bar of how far its index is loaded."""
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn())
    bar = Progress(*columns, console=Console(stderr=True), transient=True)
    tasks: dict[tuple[str, str], Any] = {}

    def report(loading: Loading) -> None:
        place = (loading.collection, loading.model)
        if place not in tasks:
            tasks[place] = bar.add_task(f"{loading.collection}, model {loading.model[:12]}", total=loading.total)
            bar.start()  # only now: an empty bar would leave a blank line before an error
        bar.update(tasks[place], completed=loading.done)

    try:
        gallery = open_gallery(settings, report)
    finally:
        bar.stop()
    try:
        yield gallery
    finally:
        gallery.close()


@contextmanager
def _counting() -> Iterator[exports.ReportProgress]:
    with Console(stderr=True).status("") as status:
        yield lambda moved: status.update(f"{moved.subjects} subjects, {moved.faces} faces")


def _moved(what: str, moved: exports.Moved, keys: SigningKeys, file: Path) -> None:
    text = ", ".join(f"{count} {name}" for name, count in moved.totals().items())
    skipped = f"; {moved.skipped} were there already" if moved.skipped else ""
    typer.echo(f"{what} {text}{skipped}; {_signed(keys, signer(file))}")


def _signed(keys: SigningKeys, key_id: str | None) -> str:
    """What an archive that was taken says of its origin."""
    if key_id is None:
        return "not signed"
    return f"signed with the key '{key_id}'" + ("" if keys.keys else ", unchecked: FACET_ARCHIVE_KEYS is not set")
