"""`facet gallery`: move, check, compact and measure what is enrolled."""

from __future__ import annotations

import dataclasses
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn
from rich.table import Table

from service.bench.gallery.torture import torture as torment
from service.commands.settings import DataOption, settings_for
from service.gallery.archive import exports, imports
from service.gallery.gallery import Gallery
from service.gallery.resealing import reseal
from service.gallery_factory import connect_database, open_gallery
from service.index.base import Progress as Loading
from service.malloc import bound_heap
from service.settings import read_settings

app = typer.Typer(help="Move, check, compact and measure what is enrolled.", no_args_is_help=True)
FileArgument = Annotated[Path, typer.Argument(metavar="FILE", help="The archive.")]


@app.command()
def verify(data: DataOption = None) -> None:
    """Compare every index with the record, and the record with itself. The service must be stopped."""
    with _opened(data) as gallery:
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
def compact(data: DataOption = None) -> None:
    """Settle what has gathered, and drop removed templates from all derived files now. The service must be stopped."""
    with _opened(data) as gallery:
        gallery.compact()
        _table(("collection", "model", "templates", "MiB"), [(*_size(size),) for size in gallery.sizes()])


@app.command("reseal")
def reseal_(data: DataOption = None) -> None:
    """Seal every template and crop with the first of FACET_TEMPLATE_KEYS; interrupted, it goes on when run again.

    The service must be stopped. With `none` in the first place everything is stored in the clear again.
    """
    keyring = settings_for(data).storage.keyring
    with _opened(data) as gallery, Console(stderr=True).status("") as status:
        done = reseal(gallery, keyring, lambda count: status.update(f"{count} values"))
    typer.echo(f"{done} values sealed again")


@app.command()
def export(
    file: FileArgument,
    collection: Annotated[
        list[str] | None, typer.Option(help="Collection to export; repeatable. Default: all.")
    ] = None,
    data: DataOption = None,
) -> None:
    """Write an archive: collections, subjects, faces, templates and kept crops. Works beside a running service.

    Templates leave in the clear: keep the file where only those may read it who may read the faces.
    """
    settings = settings_for(data)
    engine = connect_database(settings)
    try:
        with _counting() as told:
            moved = exports.export(engine, file, collection, told, keyring=settings.storage.keyring)
    finally:
        engine.dispose()
    _moved("exported", moved)


@app.command("import")
def import_(
    file: FileArgument,
    conflict: Annotated[
        imports.Rule, typer.Option(help="What to do with a subject that is there already.")
    ] = imports.Rule.STOP,
    data: DataOption = None,
) -> None:
    """Read an archive into the gallery; interrupted, it goes on when it is run again. The service must be stopped."""
    with _opened(data) as gallery, _counting() as told:
        moved = imports.restore(gallery.database, file, conflict, told, keyring=settings_for(data).storage.keyring)
    _moved("imported", moved)


@app.command()
def inspect(file: FileArgument) -> None:
    """Check an archive and say what it holds."""
    _moved("whole:", exports.inspect(file))


@app.command()
def bench(
    templates: Annotated[list[int] | None, typer.Option(help="Sizes of the gallery; repeatable.")] = None,
    dim: Annotated[int, typer.Option(help="Dimensions of a template.")] = 256,
    seconds: Annotated[float, typer.Option(help="Length of each run under load.")] = 5.0,
    starts: Annotated[bool, typer.Option(help="Also measure starts and enrolments, on disk.")] = True,
    engine: Annotated[
        str | None,
        typer.Option(help="Measure a whole gallery instead: `embedded`, `pgvector` or `milvus`, the servers as set."),
    ] = None,
    data: DataOption = None,
) -> None:
    """Measure recall, latency, memory, stalls, starts and enrolments on synthetic people; touches no stored gallery.

    With --engine on servers it fills and erases a collection of its own; give it a database of its own all the same.
    """
    from service.bench.gallery import load as measure  # noqa: PLC0415 - no other command needs it

    bound_heap()
    if engine is not None:
        _bench_engine(engine, (templates or [100_000])[-1], dim, seconds, data)
        return
    sizes = templates or [10_000, 100_000]
    pairs = [measure.measure_index(size, dim) for size in sizes]
    _table(
        (
            "index",
            "templates",
            "single ms",
            "p99",
            "batch 64 ms",
            "easy",
            "hard",
            "MiB",
            "build s",
            "add ms",
            "remove ms",
        ),
        [dataclasses.astuple(row) for exact, ours in pairs for row in (exact, ours)],
    )
    for exact, ours in pairs:
        typer.echo(
            f"{ours.templates} templates: {exact.single / ours.single:.1f} times faster than exact float32; true "
            f"person at rank 1 {ours.easy / exact.easy:.4f} (easy) and {ours.hard / exact.hard:.4f} (hard) of exact; "
            f"{ours.memory * 1.048576:.0f} MB"
        )
    _table(
        ("call", "beside", "calls", "p50 ms", "p99 ms", "worst ms"),
        [dataclasses.astuple(row) for row in measure.measure_stalls(sizes[-1], dim, seconds)],
    )
    if starts:
        parent = settings_for(data).storage.data
        parent.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(dir=parent, prefix="bench-") as folder:
            _table(
                ("templates", "from", "ready after s"),
                [
                    dataclasses.astuple(row)
                    for size in sizes
                    for row in measure.measure_starts(Path(folder) / str(size), size, dim)
                ],
            )
            rates = measure.measure_enrolments(Path(folder) / "rate", dim, seconds=seconds)
            _table(
                ("clients", "enrolments/s", "a commit", "p50 ms", "p99 ms"), [dataclasses.astuple(row) for row in rates]
            )


def _bench_engine(engine: str, count: int, dim: int, seconds: float, data: Path | None) -> None:
    from service.bench.gallery import engines  # noqa: PLC0415 - as above

    parent = data or read_settings(index=engine).storage.data
    parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=parent, prefix="bench-") as folder:
        settings = read_settings(data=Path(folder) / "data", index=engine)
        with closing(open_gallery(settings)) as gallery:
            row = engines.measure_engine(gallery, engine, count, dim, Path(folder), seconds)
    columns = ("engine", "templates", "p50 ms", "p95", "batch 64 ms", "hard", "of exact", "filled s", "enrol/s")
    _table((*columns, "record B", "index B", "among 1,000 ms"), [dataclasses.astuple(row)])
    _table(
        ("engine", "templates", "record GiB", "index GiB", "p50 ms", "filled h"),
        [dataclasses.astuple(one) for one in engines.capacity(row)],
    )


@app.command()
def torture(
    kills: Annotated[int, typer.Option(help="How often the gallery is killed.")] = 200,
    clients: Annotated[int, typer.Option(help="Requests under way at once.")] = 6,
    seed: Annotated[int, typer.Option(help="Of operations and instants.")] = 0,
) -> None:
    """Kill a gallery with SIGKILL under load, and check each time that nothing acknowledged is lost."""
    with (
        tempfile.TemporaryDirectory(prefix="facet-torture-") as folder,
        Progress(TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn()) as bar,
    ):
        task = bar.add_task("kills", total=kills)
        cost = torment(
            Path(folder),
            kills,
            clients=clients,
            seed=seed,
            told=lambda so_far: bar.update(task, completed=so_far.kills),
        )
    _table(
        ("what", "count"),
        [(field.name, getattr(cost, field.name)) for field in dataclasses.fields(cost) if field.name != "problems"],
    )
    for problem in cost.problems:
        typer.echo(problem, err=True)
    if cost.problems:
        raise typer.Exit(1)
    typer.echo("Nothing acknowledged was lost; record and index agreed after every kill.")


@contextmanager
def _opened(data: Path | None) -> Iterator[Gallery]:
    settings = settings_for(data)
    with Progress(TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), transient=True) as bar:
        tasks: dict[tuple[str, str], Any] = {}

        def told(loading: Loading) -> None:
            place = (loading.collection, loading.model)
            if place not in tasks:
                tasks[place] = bar.add_task(f"{loading.collection}, model {loading.model[:12]}", total=loading.total)
            bar.update(tasks[place], completed=loading.done)

        gallery = open_gallery(settings, told)
    try:
        yield gallery
    finally:
        gallery.close()


@contextmanager
def _counting() -> Iterator[exports.ReportProgress]:
    with Console(stderr=True).status("") as status:
        yield lambda moved: status.update(f"{moved.subjects} subjects, {moved.faces} faces")


def _moved(what: str, moved: exports.Moved) -> None:
    text = ", ".join(f"{count} {name}" for name, count in moved.totals().items())
    typer.echo(f"{what} {text}" + (f"; {moved.skipped} were there already" if moved.skipped else ""))


def _size(size: Any) -> tuple[str, str, int, float]:
    return size.collection, size.model[:12], size.templates, size.memory / 2**20


def _table(columns: Sequence[str], rows: Sequence[Sequence[Any]]) -> None:
    table = Table(*columns)
    for row in rows:
        table.add_row(*(f"{value:.3f}" if isinstance(value, float) else str(value) for value in row))
    Console(width=140).print(table)
