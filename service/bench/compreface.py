"""What CompreFace's wire shape costs: CPU time of the server for the same comparison, asked at `/v1` and at `/api/v1`.

CompreFace refuses a source with several faces, so the same question at `/v1` is the one with `faces=single`. By default
`/v1/verify` looks for no second face, which takes less.
"""

from __future__ import annotations

import http.client
from collections.abc import Callable, Sequence
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from statistics import median
from urllib.parse import urlsplit

from service.bench.errors import BenchError
from service.bench.load import Shot, form
from service.bench.server import Server, make_key

WARM_UP = 10


@dataclass(frozen=True, slots=True)
class Turn:
    """CPU seconds of the server for one request, of so many asked one after another: at each address."""

    prominent: float
    """At `/v1/verify` as it is by default."""
    single: float
    """The same with `faces=single`."""
    compreface: float


@dataclass(frozen=True, slots=True)
class WireCost:
    """Turns of one run."""

    turns: tuple[Turn, ...]

    @property
    def ratio(self) -> float:
        """What CompreFace's shape costs for our own of the same question, the median of the turns."""
        return median(turn.compreface / turn.single for turn in self.turns)

    @property
    def ratio_to_default(self) -> float:
        """The same for our own by default."""
        return median(turn.compreface / turn.prominent for turn in self.turns)


def measure_wire_cost(
    photos: Sequence[bytes], folder: Path, turns: int, count: int, log: Callable[[str], None]
) -> WireCost:
    """Ask all addresses in turns, `count` requests each. Raises: BenchError."""
    key = make_key(folder / "data")
    one, other = photos[0], photos[1]
    pictures = [("probe", one), ("reference", other)]
    shots = (
        form("/v1/verify", {}, pictures),
        form("/v1/verify", {"faces": "single"}, pictures),
        form("/api/v1/verification/verify", {}, [("source_image", other), ("target_image", one)]),
    )
    with Server(folder / "data") as server:
        for shot in shots:
            _cpu_seconds(server, key, shot, WARM_UP)
        done = []
        for number in range(turns):
            # Who goes first changes, so that what the machine does meanwhile favours nobody.
            order = [(number + place) % len(shots) for place in range(len(shots))]
            seconds = {at: _cpu_seconds(server, key, shots[at], count) / count for at in order}
            done.append(Turn(*(seconds[at] for at in sorted(seconds))))
            log(f"turn {number + 1} of {turns}")
    return WireCost(tuple(done))


def _cpu_seconds(server: Server, key: str, shot: Shot, count: int) -> float:
    """CPU time that the server takes for so many requests on one connection."""
    place = urlsplit(server.address)
    before = server.cpu_seconds()
    with closing(http.client.HTTPConnection(place.hostname or "", place.port, timeout=120)) as connection:
        for _ in range(count):
            connection.request(shot.method, shot.path, shot.body, {"Content-Type": shot.kind, "X-API-Key": key})
            answer = connection.getresponse()
            text = answer.read()
            if answer.status != 200:
                raise BenchError(f"{shot.path} answered {answer.status}: {text[:200]!r}")
    return server.cpu_seconds() - before
