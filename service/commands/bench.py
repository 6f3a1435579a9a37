"""`facet bench`: measures this machine and prints what it found, with the targets beside it."""

from __future__ import annotations

import os
import platform
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from rich.console import Console
from rich.table import Table

from service.bench.batches import SIZES, measure_batches
from service.bench.compreface import measure_wire_cost
from service.bench.errors import BenchError
from service.bench.hostile.hostile import measure_harm
from service.bench.images import measure_images
from service.bench.memory import LONGEST_SIDE, Memory, Reading, measure_memory
from service.bench.photos import read_photos
from service.bench.providers import Cost, measure_providers
from service.bench.start import Start, measure_start
from service.bench.throughput import Throughput, measure_throughput
from service.commands.terminal.group import command_group
from service.settings import read_settings
from service.version import VERSION

if TYPE_CHECKING:
    from service.bench.shadow import Shadowing

RATIO_TARGET = 0.85
GROWTH_TARGET = 0.05
FURTHER_TARGET = 8  # connections to the database and threads that are made as they are first needed
START_TARGET = 3.0
ROWS_TARGET = 16  # MiB; besides whole pictures some rows are held
SHADOW_TARGET = 0.05
BULK_TARGET = 3.0
WIRE_TARGET = 0.05
MIB = 1024 * 1024

app = command_group(
    "Measure throughput, memory and start on this machine. Starts its own service on a port and a data folder of "
    "its own, with the models that the settings name; a running service is left alone."
)

Photos = Annotated[
    Path | None,
    typer.Option(help="Folder of photographs, each with a face. Unset: two portraits in the public domain, 640x480."),
]
Seconds = Annotated[float, typer.Option(min=1, help="Length of each measurement.")]
Rounds = Annotated[int, typer.Option(min=1, help="Times that floor and service are measured in turn.")]


@app.command()
def throughput(photos: Photos = None, seconds: Seconds = 10.0, rounds: Rounds = 3) -> None:
    """Verifications a second: the floor of a plain loop, the saturated service, and latency by connections."""
    with _serving() as (console, folder):
        result = measure_throughput(read_settings(), read_photos(photos), folder, seconds, rounds, console.log)
        _print_throughput(console, result)


@app.command()
def memory(
    photos: Photos = None,
    few: Annotated[int, typer.Option(min=1, help="Requests before the first reading.")] = 500,
    many: Annotated[int, typer.Option(min=2, help="Requests before the last reading.")] = 5000,
    between: Annotated[
        list[int] | None, typer.Option(help="Requests before a reading between them; repeatable.")
    ] = None,
    side: Annotated[int, typer.Option(min=160, help="Longest side of a photograph in pixels; less is less work.")] = (
        LONGEST_SIDE
    ),
) -> None:
    """Resident memory, descriptors and threads after few and after many mixed requests."""
    with _serving() as (console, folder):
        counts = [few, *sorted(count for count in set(between or ()) if few < count < many), many]

        def tell(reading: Reading) -> None:
            console.log(f"after {reading.requests} requests: {reading.held.memory / MIB:.1f} MiB")

        _print_memory(console, measure_memory(read_photos(photos), folder, counts, side, tell))


@app.command()
def images(
    megapixels: Annotated[int, typer.Option(min=1, help="Size of each image, in millions of pixels.")] = 8,
) -> None:
    """Memory that decoding takes, by kind of image, beside what FACET_MAX_IMAGE_PIXELS counts for it."""
    with _measuring() as (console, _):
        table = Table(title=f"{megapixels} million pixels, bytes a pixel")
        for heading in ("kind", "file, KiB", "measured", "counted"):
            table.add_column(heading, justify="right")
        kinds = list(measure_images(megapixels * 1_000_000))
        for each in kinds:
            table.add_row(each.kind, f"{each.file / 1024:.0f}", f"{each.measured:.2f}", f"{each.counted:.2f}")
        console.print(table)
        beyond = max(each.measured - each.counted for each in kinds) * megapixels * 1_000_000 / MIB
        _judge(console, f"beyond what is counted: {beyond:.0f} MiB", f"<= {ROWS_TARGET} MiB", beyond <= ROWS_TARGET)


@app.command()
def hostile() -> None:
    """What the most expensive things that a client can send do to the service: memory, and /livez meanwhile."""
    with _serving() as (console, folder):
        table = Table(title="attacks on the service")
        for heading in ("attack", "answer", "seconds", "longest /livez, s", "missed", "growth, MiB"):
            table.add_column(heading, justify="left" if heading in ("attack", "answer") else "right")
        attacks = list(measure_harm(folder, console.log))
        for each in attacks:
            figures = (f"{each.seconds:.1f}", f"{each.stall:.2f}", str(each.missed), f"{each.growth / MIB:.0f}")
            table.add_row(each.attack, each.answer, *figures)
        console.print(table)
        stall, missed = max(each.stall for each in attacks), sum(each.missed for each in attacks)
        _judge(console, f"longest /livez: {stall:.2f} s, {missed} missed", "< 1 s, none", stall < 1 and not missed)


@app.command()
def start(
    templates: Annotated[int, typer.Option(min=1, help="Templates enrolled before the start.")] = 100_000,
) -> None:
    """Seconds from starting the process to its first good answer of /readyz, with a large gallery."""
    with _serving() as (console, folder):
        _print_start(console, measure_start(read_settings(), folder, templates, console.log))


@app.command()
def shadow(
    photos: Photos = None,
    seconds: Seconds = 30.0,
    turns: Annotated[int, typer.Option(min=1, help="Times that the load runs without and with shadowing.")] = 6,
) -> None:
    """Latency of verify below saturation, without and with every decision compared with the challenger's, in turns."""
    from service.bench.shadow import measure_shadow  # noqa: PLC0415 - loads what no other command needs

    with _serving() as (console, folder):
        _print_shadow(console, measure_shadow(read_photos(photos), folder, seconds, turns, console.log))


@app.command()
def enroll(
    people: Annotated[
        Path | None,
        typer.Option(exists=True, file_okay=False, help="Folder with a folder for each person. Unset: made up."),
    ] = None,
    photographs: Annotated[int, typer.Option(min=2, help="Photographs that each way enrols in a turn.")] = 250,
    turns: Annotated[int, typer.Option(min=1, help="Times that both ways take turns.")] = 4,
) -> None:
    """Photographs enrolled a second by `facet enroll`, beside a loop of curl, in turns, through one service."""
    from service.bench.enrolment import measure_enrolment  # noqa: PLC0415 - loads what no other command needs

    with _serving() as (console, folder):
        result = measure_enrolment(people, folder, photographs, turns, console.log)
        table = Table(title="photographs a second")
        for heading in ("turn", "loop of curl", "facet enroll", "ratio"):
            table.add_column(heading, justify="right")
        for number, turn in enumerate(result.turns, 1):
            table.add_row(str(number), f"{turn.loop:.1f}", f"{turn.command:.1f}", f"{turn.ratio:.2f}")
        console.print(table)
        sent = 2 * turns * photographs
        console.print(f"{result.enrolled} of {sent} photographs are enrolled, the others were refused")
        met = result.ratio >= BULK_TARGET
        _judge(console, f"facet enroll / loop, median of turns: {result.ratio:.2f}", f">= {BULK_TARGET:.0f}", met)


@app.command()
def compreface(
    photos: Photos = None,
    turns: Annotated[int, typer.Option(min=1, help="Times that each address is asked.")] = 12,
    requests: Annotated[int, typer.Option(min=1, help="Requests to each in a turn.")] = 40,
) -> None:
    """CPU time of one comparison of two photographs, at /v1/verify and as CompreFace's clients ask for it."""
    with _serving() as (console, folder):
        result = measure_wire_cost(read_photos(photos), folder, turns, requests, console.log)
        table = Table(title="CPU ms of the server for a comparison")
        for heading in ("turn", "/v1/verify", "the same, faces=single", "/api/v1/verification/verify"):
            table.add_column(heading, justify="right")
        for number, turn in enumerate(result.turns, 1):
            times = (turn.prominent, turn.single, turn.compreface)
            table.add_row(str(number), *(f"{1000 * seconds:.1f}" for seconds in times))
        console.print(table)
        console.print(f"CompreFace's / our own by default, median of turns: {result.ratio_to_default:.3f}")
        said = f"CompreFace's / our own with faces=single, median of turns: {result.ratio:.3f}"
        _judge(console, said, f"<= {1 + WIRE_TARGET}", result.ratio <= 1 + WIRE_TARGET)


@app.command()
def batches(rounds: Annotated[int, typer.Option(min=1, help="Times that each size is measured.")] = 10) -> None:
    """CPU milliseconds a face by batch size: what batching across requests could gain."""
    with _measuring() as (console, _):
        models = measure_batches(read_settings(), rounds)
        table = Table(title="CPU ms a face, one thread")
        for heading in ("model", *(f"batch of {size}" for size in SIZES)):
            table.add_column(heading, justify="right")
        for name, times in models.items():
            table.add_row(name, *(f"{times[size]:.2f}" for size in SIZES))
        console.print(table)


@app.command()
def providers(
    provider: Annotated[
        list[str] | None, typer.Option(help="Execution provider, several times for several. Unset: all installed.")
    ] = None,
    turns: Annotated[int, typer.Option(min=1, help="Times that each provider is measured in turn.")] = 9,
    inferences: Annotated[int, typer.Option(min=1, help="Inferences of one measurement.")] = 20,
) -> None:
    """What an inference costs on the execution providers that are installed, beside ONNX Runtime's own on the CPU."""
    with _measuring() as (console, _):
        table = Table(title="one inference, one image")
        for heading in ("model", "provider"):
            table.add_column(heading)
        for heading in ("load s", "CPU ms", "wall ms", "CPU time / cpu's", "outputs differ by"):
            table.add_column(heading, justify="right")
        own: dict[str, Cost] = {}
        for cost in measure_providers(read_settings(), provider or [], turns, inferences):
            own.setdefault(cost.model, cost)
            table.add_row(cost.model, cost.provider, *_cost_cells(cost, own[cost.model]))
        console.print(table)


def _cost_cells(cost: Cost, own: Cost) -> tuple[str, ...]:
    if cost.failure is not None:
        return (cost.failure,)
    cells = (f"{cost.load_seconds:.1f}", f"{1000 * cost.typical.cpu:.2f}", f"{1000 * cost.typical.wall:.2f}")
    compared = own.failure is None
    return (*cells, f"{cost.ratio_to(own):.2f}" if compared else "", f"{cost.difference:.1e}" if compared else "")


@contextmanager
def _serving() -> Iterator[tuple[Console, Path]]:
    """Measure a service of its own, which takes the settings for models and limits.

    Raises:
        BenchError: They name a database, receivers or a collector too, which are others'.
    """
    settings = read_settings()
    named = {
        "FACET_DATABASE": settings.database.url,
        "FACET_WEBHOOKS": settings.webhooks.receivers.get_secret_value(),
        "FACET_TRACING_ENDPOINT": settings.tracing.endpoint,
    }
    if others := [name for name, value in named.items() if value]:
        raise BenchError(
            f"the service that is measured would use what {' and '.join(others)} names: unset it, also in .env"
        )
    with _measuring() as place:
        yield place


@contextmanager
def _measuring() -> Iterator[tuple[Console, Path]]:
    console = Console(highlight=False)
    cores = len(os.sched_getaffinity(0))
    console.print(f"Facet {VERSION}, {cores} cores, {_processor()}, Python {platform.python_version()}")
    with tempfile.TemporaryDirectory(prefix="facet-bench-") as folder:
        yield console, Path(folder)


def _print_throughput(console: Console, result: Throughput) -> None:
    table = Table(title="verify, two photographs each")
    for heading in ("round", "floor /s", "served /s", "served / floor", "cores: floor", "server", "generator"):
        table.add_column(heading, justify="right")
    for number, turn in enumerate(result.rounds, 1):
        rates = (turn.floor.rate, turn.served.rate, turn.ratio)
        cores = (turn.floor.cores, turn.server_cores, turn.generator_cores)
        table.add_row(str(number), *(f"{cell:.2f}" for cell in (*rates, *cores)))
    console.print(table)
    stages = result.rounds[-1].floor.milliseconds
    console.print("floor, CPU ms a photograph: " + ", ".join(f"{stage} {ms:.2f}" for stage, ms in stages.items()))
    table = Table(title="latency of verify in ms, by open connections")
    for heading in ("connections", "served /s", "p50", "p95", "p99"):
        table.add_column(heading, justify="right")
    for connections, load in result.by_connections.items():
        times = (f"{1000 * value:.1f}" for value in (load.p50, load.p95, load.p99))
        table.add_row(str(connections), f"{load.rate:.2f}", *times)
    console.print(table)
    console.print(f"served / floor for each CPU second, median of rounds: {result.efficiency:.2f}")
    _judge(
        console,
        f"served / floor, median of rounds: {result.ratio:.2f}",
        f">= {RATIO_TARGET}",
        result.ratio >= RATIO_TARGET,
    )


def _print_memory(console: Console, result: Memory) -> None:
    table = Table(title="what the service holds")
    for heading in ("when", "MiB", "descriptors", "threads", "served", "refused"):
        table.add_column(heading, justify="right")
    for when, held, load in (
        ("ready", result.ready, None),
        *((f"after {each.requests}", each.held, each.load) for each in result.readings),
    ):
        sent = ("", "") if load is None else (str(load.ok), str(load.refused))
        table.add_row(when, f"{held.memory / MIB:.1f}", str(held.descriptors), str(held.threads), *sent)
    console.print(table)
    further = f"descriptors and threads beyond those after {result.readings[0].requests}: {result.further}"
    _judge(console, further, f"<= {FURTHER_TARGET}", result.further <= FURTHER_TARGET)
    _judge(console, f"growth: {result.growth:+.1%}", f"<= {GROWTH_TARGET:.0%}", result.growth <= GROWTH_TARGET)


def _print_start(console: Console, result: Start) -> None:
    slowest = max(result.first, result.again)
    both = f"{result.first:.2f} s from the database alone, {result.again:.2f} s with index files"
    console.print(f"start with {result.templates} templates: {both}")
    console.print(f"CPU seconds of these: {result.first_cpu:.2f} and {result.again_cpu:.2f}")
    _judge(console, f"slower of both: {slowest:.2f} s", f"< {START_TARGET:.0f} s", slowest < START_TARGET)


def _print_shadow(console: Console, result: Shadowing) -> None:
    about = f"{1000 * result.gap:.0f} ms between requests in the mean"
    table = Table(title=f"{result.champion}, with {result.challenger} in its shadow, ms; {about}")
    for heading in ("turn", "/s", "p50 off", "p50 on", "p99 off", "p99 on", "compared", "dropped"):
        table.add_column(heading, justify="right")
    for number, turn in enumerate(result.turns, 1):
        times = (f"{1000 * value:.1f}" for value in (turn.off.p50, turn.on.p50, turn.off.p99, turn.on.p99))
        counts = (str(turn.compared), str(turn.dropped))
        table.add_row(str(number), f"{turn.on.rate:.1f}", *times, *counts)
    console.print(table)
    tail = result.ratio(0.99)
    for name, ratio in (("p50", result.ratio(0.5)), ("p95", result.ratio(0.95))):
        console.print(f"{name} on / off, all turns: {ratio.value:.3f} ({ratio.low:.3f} to {ratio.high:.3f})")
    said = f"p99 on / off, all turns: {tail.value:.3f} ({tail.low:.3f} to {tail.high:.3f})"
    _judge(console, said, f"<= {1 + SHADOW_TARGET}", tail.value <= 1 + SHADOW_TARGET)


def _judge(console: Console, finding: str, target: str, met: bool) -> None:
    console.print(f"{finding} (target {target}: {'met' if met else '[red]missed[/red]'})")


def _processor() -> str:
    for line in Path("/proc/cpuinfo").read_text().splitlines():
        if line.startswith("model name"):
            return line.partition(":")[2].strip()
    return platform.machine()
