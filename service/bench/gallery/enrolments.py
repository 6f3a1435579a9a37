"""Measures durable enrolments by several clients at once."""

from __future__ import annotations

import itertools
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import sqlalchemy as sa

from service.bench.gallery.crowd import unit
from service.bench.gallery.synthetic_gallery import DIGEST
from service.bench.gallery.timing import quantile, timed
from service.database.schema import new_id
from service.gallery.embedded import open_embedded
from service.gallery.gallery import Gallery
from service.gallery.records import NewFace


@dataclass(frozen=True, slots=True)
class EnrolRow:
    """Acknowledged enrolments per second of so many clients.

    Also how many of them shared one sync of the disk, and the milliseconds that one client waits.
    """

    clients: int
    per_second: float
    per_commit: float
    p50: float
    p99: float


def measure_enrolments(
    directory: Path, dim: int, clients: tuple[int, ...] = (1, 8, 32), seconds: float = 5.0
) -> list[EnrolRow]:
    """Measure durable enrolments of one face each, by several clients at once."""
    gallery = open_embedded(directory)
    result = []
    try:
        gallery.create_collection("rate")
        commits = itertools.count()
        sa.event.listen(gallery.database.engine, "commit", lambda _: next(commits))
        for number in clients:
            before = next(commits)
            every = enrol_at_once(gallery, "rate", dim, number, seconds)
            shared = len(every) / max(1, next(commits) - before - 1)
            result.append(EnrolRow(number, len(every) / seconds, shared, quantile(every, 0.5), quantile(every, 0.99)))
    finally:
        gallery.close()
    return result


def enrol_at_once(gallery: Gallery, collection: str, dim: int, clients: int, seconds: float) -> list[float]:
    """Return the milliseconds of every durable enrolment of one face that so many clients get done in this time."""
    times: list[list[float]] = [[] for _ in range(clients)]
    end = time.monotonic() + seconds
    with ThreadPoolExecutor(clients) as pool:
        list(pool.map(lambda taken: _enrol_on(gallery, collection, dim, taken, end), times))
    return [value for taken in times for value in taken]


def _enrol_on(gallery: Gallery, collection: str, dim: int, taken: list[float], end: float) -> None:
    random = np.random.default_rng(threading.get_native_id())
    while time.monotonic() < end:
        vector = unit(random.standard_normal((1, dim), np.float32))[0]
        timed(taken, gallery.enroll, collection, new_id(), [NewFace(new_id(), {DIGEST: vector})])
