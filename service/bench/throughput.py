"""Served comparisons against the floor, and latency against concurrency."""

from __future__ import annotations

import statistics
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from service.bench.errors import BenchError
from service.bench.floor import Floor, measure_floor
from service.bench.load import Load, Shot, form, send, write_plan
from service.bench.server import Server, make_key
from service.settings import Settings

CONCURRENCY = (1, 2, 4, 8, 16, 32)
SATURATION = 8  # open connections; enough that every worker always has a request waiting


@dataclass(frozen=True, slots=True)
class Round:
    """The floor and the saturated service, measured one right after the other.

    CPU seconds a second of the server and of the generator while it served.
    """

    floor: Floor
    served: Load
    server_cores: float
    generator_cores: float

    @property
    def ratio(self) -> float:
        """Served comparisons for each comparison of the floor."""
        return self.served.rate / self.floor.rate

    @property
    def efficiency(self) -> float:
        """The same for each CPU second used: what remains when other programs take cores from either side."""
        return (self.served.rate / self.server_cores) / (self.floor.rate / self.floor.cores)


@dataclass(frozen=True, slots=True)
class Throughput:
    """Rounds, and one load for each number of connections."""

    rounds: tuple[Round, ...]
    by_connections: dict[int, Load]

    @property
    def ratio(self) -> float:
        """The median round's ratio: on a machine that does other things too, single rounds wander."""
        return statistics.median(turn.ratio for turn in self.rounds)

    @property
    def efficiency(self) -> float:
        """The median round's efficiency."""
        return statistics.median(turn.efficiency for turn in self.rounds)


def measure_throughput(
    settings: Settings,
    photos: Sequence[bytes],
    folder: Path,
    seconds: float,
    rounds: int,
    tell: Callable[[str], None],
) -> Throughput:
    """Start a service with its data in `folder`, verify pairs of photographs, and compare with the floor.

    Raises: BenchError, also when any request was refused or failed.
    """
    data = folder / "data"
    plan = write_plan(list(verifications(photos)), make_key(data), folder / "plan")
    with Server(data) as server:
        tell("warming up")
        all_served(send(server.address, plan, SATURATION, min(2.0, seconds)))
        turns = []
        for number in range(rounds):
            tell(f"round {number + 1} of {rounds}: floor")
            floor = measure_floor(settings, photos, seconds)
            tell(f"round {number + 1} of {rounds}: served")
            before = server.cpu_seconds()
            served = all_served(send(server.address, plan, SATURATION, seconds))
            cores = (server.cpu_seconds() - before) / served.seconds
            turns.append(Round(floor, served, cores, served.generator_seconds / served.seconds))
        by_connections = {}
        for connections in CONCURRENCY:
            tell(f"{connections} connections")
            by_connections[connections] = all_served(send(server.address, plan, connections, seconds))
    return Throughput(tuple(turns), by_connections)


def verifications(photos: Sequence[bytes]) -> Iterator[Shot]:
    """Every photograph compared with the next one."""
    for first in range(len(photos)):
        pair = [("probe", photos[first]), ("reference", photos[(first + 1) % len(photos)])]
        yield form("/v1/verify", {"threshold": "0.4"}, pair)


def all_served(load: Load) -> Load:
    """Give back a load in which every request was served. Raises: BenchError for any other."""
    bad = load.refused + load.failed + load.lost
    if bad or not load.ok:
        raise BenchError(
            f"{load.refused} requests were refused, {load.failed} failed and {load.lost} were lost, {load.ok} served: "
            "a rate means nothing unless all are served"
        )
    return load
