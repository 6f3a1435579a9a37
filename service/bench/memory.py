"""Memory, descriptors and threads of the service after few and after many mixed requests."""

from __future__ import annotations

import io
import json
import time
from base64 import b64encode
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Self

import numpy as np
from PIL import Image

from service.bench.errors import BenchError
from service.bench.load import Load, Shot, form, send, write_plan
from service.bench.photos import encode
from service.bench.server import Server, make_key

CONNECTIONS = 8
SETTLE_SECONDS = 2.0
VARIANTS = (
    ("JPEG", (640, 480)),
    ("JPEG", (1280, 960)),
    ("PNG", (320, 240)),
    ("WEBP", (800, 600)),
    ("JPEG", (3000, 2250)),
    ("BMP", (500, 375)),
)


@dataclass(frozen=True, slots=True)
class Footprint:
    """What the service holds at a moment: resident bytes, open files and connections, threads."""

    memory: int
    descriptors: int
    threads: int

    @classmethod
    def of(cls, server: Server) -> Self:
        """Read what a server holds now."""
        return cls(server.memory(), server.descriptors(), server.threads())


@dataclass(frozen=True, slots=True)
class Memory:
    """What the service holds: when ready, after the first requests, after all of them."""

    ready: Footprint
    early: Footprint
    late: Footprint
    first: Load
    rest: Load

    @property
    def growth(self) -> float:
        """Growth of the memory between the two, as a share of the earlier."""
        return self.late.memory / self.early.memory - 1

    @property
    def further(self) -> int:
        """Descriptors and threads that the later has and the earlier had not."""
        return max(0, self.late.descriptors - self.early.descriptors) + max(0, self.late.threads - self.early.threads)


def measure_memory(photos: Sequence[bytes], folder: Path, few: int, many: int, tell: Callable[[str], None]) -> Memory:
    """Send `few` mixed requests, then more up to `many`, and read what the service holds after each.

    Raises: BenchError, also when the service fails on any request.
    """
    data = folder / "data"
    plan = write_plan(mixed(photos), make_key(data), folder / "plan")
    with Server(data) as server:
        ready = Footprint.of(server)
        tell(f"{few} mixed requests")
        first = _none_failed(send(server.address, plan, CONNECTIONS, count=few))
        time.sleep(SETTLE_SECONDS)
        early = Footprint.of(server)
        tell(f"{many - few} more")
        rest = _none_failed(send(server.address, plan, CONNECTIONS, count=many - few))
        time.sleep(SETTLE_SECONDS)
        return Memory(ready, early, Footprint.of(server), first, rest)


def mixed(photos: Sequence[bytes]) -> list[Shot]:
    """Requests of all kinds: each way to ask, photographs of several sizes and formats, and some that are refused.

    One enrolment in 40 requests, so that the gallery's own growth stays small beside the service's memory.
    """
    shots = []
    for number, (kind, size) in enumerate(VARIANTS):
        with Image.open(io.BytesIO(photos[number % len(photos)])) as picture:
            photo = encode(picture, kind, size)
        other = photos[(number + 1) % len(photos)]
        as_json = {"probe": b64encode(photo).decode(), "reference": b64encode(other).decode(), "threshold": 0.4}
        shots += [
            form("/v1/verify", {"threshold": "0.4"}, [("probe", photo), ("reference", other)]),
            Shot("POST", "/v1/verify", "application/json", json.dumps(as_json).encode()),
            form("/v1/detect", {}, [("image", photo)]),
            form("/v1/embed", {}, [("image", photo)]),
            form("/v1/identify", {"threshold": "0.4"}, [("image", photo)]),
        ]
    shots.insert(0, form("/v1/enroll", {"subject": "bench"}, [("images", photos[0])]))
    noise = np.random.default_rng(0).integers(0, 255, (480, 640, 3), dtype=np.uint8)
    shots += [
        form("/v1/identify", {"threshold": "0.4"}, [("image", encode(Image.fromarray(noise)))]),
        form("/v1/detect", {}, [("image", b"not a photograph")]),
        form("/v1/detect", {}, [("image", photos[0][: len(photos[0]) // 2])]),
        form("/v1/verify", {}, []),
        Shot("GET", "/v1/models"),
        Shot("GET", "/v1/collections/default/subjects"),
        Shot("GET", "/metrics"),
        Shot("GET", "/readyz"),
        Shot("GET", "/v1/nothing-here"),
    ]
    return shots


def _none_failed(load: Load) -> Load:
    if load.failed or load.lost:
        raise BenchError(f"the service failed on {load.failed} requests and lost {load.lost} connections")
    return load
