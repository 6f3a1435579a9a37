"""`facet gallery bench` and `facet gallery torture`: a gallery measured, and killed."""

from __future__ import annotations

import base64
import dataclasses
import secrets
import tempfile
from contextlib import closing
from pathlib import Path
from typing import Annotated

import typer
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn

from service.commands.terminal.listing import print_table
from service.commands.terminal.settings import DataOption, settings_for
from service.database.key_text import KEY_SIZE
from service.gallery_factory import open_gallery
from service.runtime.malloc import bound_heap
from service.settings import read_settings


def bench(
    templates: Annotated[list[int] | None, typer.Option(help="Sizes of the gallery; repeatable.")] = None,
    dim: Annotated[int, typer.Option(help="Dimensions of a template.")] = 256,
    seconds: Annotated[float, typer.Option(help="Length of each run under load.")] = 5.0,
    starts: Annotated[
        bool, typer.Option(help="Also measure starts, normalised searches and enrolments, on disk.")
    ] = True,
    engine: Annotated[
        str | None,
        typer.Option(help="Measure a whole gallery instead: `embedded`, `pgvector` or `milvus`, the servers as set."),
    ] = None,
    data: DataOption = None,
) -> None:
    """Measure recall, latency, memory, stalls, starts and enrolments on synthetic people; touches no stored gallery.

    With --engine on servers it fills and erases a collection of its own; give it a database of its own all the same.
    """
    # No other command needs these.
    from service.bench.gallery.enrolments import measure_enrolments  # noqa: PLC0415
    from service.bench.gallery.index import measure_index  # noqa: PLC0415
    from service.bench.gallery.normalised import measure_normalised  # noqa: PLC0415
    from service.bench.gallery.stalls import measure_stalls  # noqa: PLC0415
    from service.bench.gallery.starts import measure_starts  # noqa: PLC0415

    bound_heap()
    if engine is not None:
        _bench_engine(engine, (templates or [100_000])[-1], dim, seconds, data)
        return
    sizes = templates or [10_000, 100_000]
    pairs = [measure_index(size, dim) for size in sizes]
    print_table(
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
    print_table(
        ("call", "beside", "calls", "p50 ms", "p99 ms", "worst ms"),
        [dataclasses.astuple(row) for row in measure_stalls(sizes[-1], dim, seconds)],
    )
    if starts:
        parent = settings_for(data).storage.data
        parent.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(dir=parent, prefix="bench-") as folder:
            print_table(
                ("templates", "from", "ready after s"),
                [
                    dataclasses.astuple(row)
                    for size in sizes
                    for row in measure_starts(Path(folder) / str(size), size, dim)
                ],
            )
            print_table(
                ("search", "templates", "single ms", "p99", "easy", "hard"),
                [
                    dataclasses.astuple(row)
                    for size in sizes
                    for row in measure_normalised(Path(folder) / str(size), size, dim)
                ],
            )
            rates = measure_enrolments(Path(folder) / "rate", dim, seconds=seconds)
            print_table(
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
    print_table((*columns, "database B", "index B", "among 1,000 ms"), [dataclasses.astuple(row)])
    print_table(
        ("engine", "templates", "database GiB", "index GiB", "p50 ms", "filled h"),
        [dataclasses.astuple(one) for one in engines.capacity(row)],
    )


def torture(
    kills: Annotated[int, typer.Option(help="How often the gallery is killed.")] = 200,
    clients: Annotated[int, typer.Option(help="Requests under way at once.")] = 6,
    seed: Annotated[int, typer.Option(help="Of operations and instants.")] = 0,
    encrypted: Annotated[bool, typer.Option(help="Seal templates, crops and index files, with a key made for it.")] = (
        False
    ),
) -> None:
    """Kill a gallery with SIGKILL under load, and check each time that nothing acknowledged is lost."""
    from service.bench.gallery.torture import torture as torment  # noqa: PLC0415 - as above

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
            keys=f"torture:{base64.b64encode(secrets.token_bytes(KEY_SIZE)).decode()}" if encrypted else "",
            progress=lambda so_far: bar.update(task, completed=so_far.kills),
        )
    print_table(
        ("what", "count"),
        [(field.name, getattr(cost, field.name)) for field in dataclasses.fields(cost) if field.name != "problems"],
    )
    for problem in cost.problems:
        typer.echo(problem, err=True)
    if cost.problems:
        raise typer.Exit(1)
    typer.echo("Nothing acknowledged was lost; database and index agreed after every kill.")
