"""What shadow comparison costs the callers: latency without it and with every decision sampled, in turns.

Of a few hundred requests the 99th percentile is the third worst or so, and says little. So both halves of a turn get
the same requests at the same moments, the percentiles are those of all turns together, and the interval comes from
drawing whole turns anew.
"""

from __future__ import annotations

import json
import re
import time
import urllib.request
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from service.bench.errors import BenchError
from service.bench.load import Load, Pace, send, write_plan
from service.bench.server import Server, make_key
from service.bench.throughput import all_served, verifications

UTILISATION = 0.5
"""Share of the workers' time that the load asks for: below saturation, where latency is the service's and not the
queue's."""
CALLERS = 8
"""Connections for each worker: enough that a request never waits for one."""
DRAWS = 2000
SETTLE_SECONDS = 1.5  # every process reads the roles within a second
DRAIN_SECONDS = 600.0


@dataclass(frozen=True, slots=True)
class Turn:
    """The same load without and with shadowing, and how many of its decisions the challenger decided or did not."""

    off: Load
    on: Load
    compared: int
    dropped: int


@dataclass(frozen=True, slots=True)
class Ratio:
    """A latency with shadowing for that without, and the 95 % interval."""

    value: float
    low: float
    high: float


@dataclass(frozen=True, slots=True)
class Shadowing:
    """Turns of one run of a service; which models, and the mean gap between two requests in seconds."""

    champion: str
    challenger: str
    gap: float
    turns: tuple[Turn, ...]

    def ratio(self, share: float) -> Ratio:
        """How the quantile of all turns' latencies below which `share` of them lie has changed."""
        rng = np.random.default_rng(0)
        drawn = rng.integers(0, len(self.turns), (DRAWS, len(self.turns)))
        low, high = np.quantile([_ratio([self.turns[i] for i in some], share) for some in drawn], [0.025, 0.975])
        return Ratio(_ratio(self.turns, share), float(low), float(high))


def measure_shadow(
    photos: Sequence[bytes], folder: Path, seconds: float, turns: int, tell: Callable[[str], None]
) -> Shadowing:
    """Start a service with its data in `folder` and verify pairs of photographs below saturation, off and on in turns.

    Raises: BenchError, also when any request was refused or failed, or fewer than two models are loaded.
    """
    key = make_key(folder / "data")
    plan = write_plan(list(verifications(photos)), key, folder / "plan")
    with Server(folder / "data") as server:
        admin = _Admin(server.address, key)
        champion, challenger = admin.two_models()
        tell("warming up")
        alone = all_served(send(server.address, plan, 1, min(5.0, seconds)))
        workers = int(admin.sample("facet_workers"))
        gap = alone.p50 / (workers * UTILISATION)
        rows = []
        for number in range(turns):
            loads: dict[bool, Load] = {}
            compared = dropped = 0.0
            for shadowing in (False, True) if number % 2 == 0 else (True, False):
                tell(f"turn {number + 1} of {turns}: {'with' if shadowing else 'without'} shadowing")
                admin.assign(champion, challenger, 1.0 if shadowing else 0.0)
                before = admin.sample("facet_comparisons_total"), admin.sample("facet_shadow_dropped_total")
                loads[shadowing] = all_served(
                    send(server.address, plan, CALLERS * workers, seconds, pace=Pace(gap, seed=number))
                )
                drain(lambda: admin.sample("facet_shadow_queue_depth"))
                if shadowing:
                    compared = admin.sample("facet_comparisons_total") - before[0]
                    dropped = admin.sample("facet_shadow_dropped_total") - before[1]
            rows.append(Turn(loads[False], loads[True], int(compared), int(dropped)))
        return Shadowing(champion, challenger, gap, tuple(rows))


def drain(waiting: Callable[[], float], seconds: float = DRAIN_SECONDS) -> None:
    """Wait until no sampled decision waits: it would be compared beside the next load.

    Raises:
        BenchError: Some still wait after these seconds.
    """
    until = time.monotonic() + seconds
    while left := waiting():
        if time.monotonic() >= until:
            raise BenchError(f"{left:.0f} sampled decisions still wait for the challenger after {seconds:.0f} s")
        time.sleep(0.1)


def _ratio(turns: Sequence[Turn], share: float) -> float:
    on, off = (np.concatenate(loads) for loads in zip(*((t.on.latencies, t.off.latencies) for t in turns), strict=True))
    return float(np.quantile(on, share) / np.quantile(off, share))


class _Admin:
    """What the measurement asks of the service besides the load."""

    def __init__(self, address: str, key: str) -> None:
        self._address, self._headers = address, {"Authorization": f"Bearer {key}", "Content-Type": "application/json"}

    def two_models(self) -> tuple[str, str]:
        """The champion, and another loaded embedder to be its challenger."""
        items = json.loads(self._call("GET", "/v1/models"))["items"]
        loaded = [item for item in items if item["loaded"] and item["manifest"]["task"] == "embedder"]
        names = [item["manifest"]["name"] for item in sorted(loaded, key=lambda item: not item["default"])]
        if len(names) < 2:
            raise BenchError("two embedders are needed, a champion and a challenger: see FACET_MODELS")
        return names[0], names[1]

    def assign(self, champion: str, challenger: str, sample: float) -> None:
        """Set the roles, and wait until they hold everywhere."""
        self._call("PUT", "/v1/roles", {"champion": champion, "challenger": challenger, "sample": sample})
        time.sleep(SETTLE_SECONDS)

    def sample(self, series: str) -> float:
        """The sum of a series over its labels; 0 where there is none yet."""
        text = self._call("GET", "/metrics").decode()
        return sum(float(value) for value in re.findall(rf"^{series}(?:{{.*}})? (\S+)$", text, re.MULTILINE))

    def _call(self, method: str, path: str, body: Any = None) -> bytes:
        data = None if body is None else json.dumps(body).encode()
        request = urllib.request.Request(  # noqa: S310 - own address
            f"{self._address}{path}", data, self._headers, method=method
        )
        with urllib.request.urlopen(request, timeout=60) as answer:  # noqa: S310
            return bytes(answer.read())
