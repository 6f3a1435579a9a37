"""Memory, descriptors and threads of the service, read again and again over many mixed requests."""

from __future__ import annotations

import io
import json
import time
from base64 import b64encode
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import pairwise
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
PATIENCE_SECONDS = 1800  # a soak goes on beside other work, and its figures are no times
LONGEST_SIDE = 3000
READ = (
    "/v1/models",
    "/v1/key",
    "/v1/audit",
    "/v1/receipts",
    "/v1/roles",
    "/v1/collections/default",
    "/v1/collections/default/subjects",
    "/metrics",
    "/readyz",
    "/openapi.json",
)
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
class Reading:
    """What the service holds after so many requests, and what became of those since the reading before."""

    requests: int
    held: Footprint
    load: Load


@dataclass(frozen=True, slots=True)
class Memory:
    """What the service holds: when ready, and at each reading from the first requests to the last."""

    ready: Footprint
    readings: tuple[Reading, ...]

    @property
    def growth(self) -> float:
        """Growth of the memory from the first reading to the last, as a share of the first."""
        early, late = self._ends()
        return late.memory / early.memory - 1

    @property
    def further(self) -> int:
        """Descriptors and threads that the last reading has and the first had not."""
        early, late = self._ends()
        return max(0, late.descriptors - early.descriptors) + max(0, late.threads - early.threads)

    def _ends(self) -> tuple[Footprint, Footprint]:
        return self.readings[0].held, self.readings[-1].held


def measure_memory(
    photos: Sequence[bytes], folder: Path, counts: Sequence[int], side: int, tell: Callable[[Reading], None]
) -> Memory:
    """Send mixed requests, and read what the service holds after each number of them in `counts`, which rise.

    `side` is the longest that a photograph may have, in pixels. `tell` is given each reading as it is made.

    Raises: BenchError, also when the service fails on any request, or a count is no larger than the one before it.
    """
    if any(after <= before for before, after in pairwise((0, *counts))):
        raise BenchError(f"each reading needs more requests than the one before it: {', '.join(map(str, counts))}")
    data = folder / "data"
    plan = write_plan(mixed(photos, side), make_key(data), folder / "plan")
    readings: list[Reading] = []
    with Server(data) as server:
        ready = Footprint.of(server)
        for before, after in pairwise((0, *counts)):
            load = _none_failed(
                send(server.address, plan, CONNECTIONS, count=after - before, patience=PATIENCE_SECONDS)
            )
            time.sleep(SETTLE_SECONDS)
            readings.append(Reading(after, Footprint.of(server), load))
            tell(readings[-1])
    return Memory(ready, tuple(readings))


def mixed(photos: Sequence[bytes], side: int = LONGEST_SIDE) -> list[Shot]:
    """Requests of all kinds: each way to ask, photographs of several sizes and formats, and some that are refused.

    No photograph's side is longer than `side`. Whoever is enrolled is erased at the end, so that the gallery does not
    grow.
    """
    photos = [_shrunk(photo, side) for photo in photos]
    shots = []
    for number, (kind, size) in enumerate(VARIANTS):
        with Image.open(io.BytesIO(photos[number % len(photos)])) as picture:
            photo = encode(picture, kind, _within(size, side))
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
    width, height = _within((640, 480), side)
    noise = np.random.default_rng(0).integers(0, 255, (height, width, 3), dtype=np.uint8)
    shots += [
        form("/v1/identify", {"threshold": "0.4"}, [("image", encode(Image.fromarray(noise), size=(width, height)))]),
        form("/v1/detect", {}, [("image", b"not a photograph")]),
        form("/v1/detect", {}, [("image", photos[0][: len(photos[0]) // 2])]),
        form("/v1/verify", {}, []),
        *(Shot("GET", path) for path in READ),
        Shot("GET", "/v1/nothing-here"),
        Shot("DELETE", "/v1/collections/default/subjects/bench"),
    ]
    return shots


def _shrunk(photo: bytes, side: int) -> bytes:
    """The same photograph, or where it is too large a JPEG of the largest size that it may have."""
    with Image.open(io.BytesIO(photo)) as picture:
        return photo if max(picture.size) <= side else encode(picture, size=_within(picture.size, side))


def _within(size: tuple[int, int], side: int) -> tuple[int, int]:
    """A size (width, height) shrunk to have no side longer than `side`."""
    share = min(1.0, side / max(size))
    return round(size[0] * share), round(size[1] * share)


def _none_failed(load: Load) -> Load:
    if load.failed or load.lost:
        raise BenchError(f"the service failed on {load.failed} requests and lost {load.lost} connections")
    return load
