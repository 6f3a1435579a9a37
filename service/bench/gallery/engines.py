"""Measures galleries on any engine through what they offer the service, on the synthetic people of `bench`."""

from __future__ import annotations

import base64
import time
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from itertools import islice
from pathlib import Path

import faiss
import numpy as np
import sqlalchemy as sa
from numpy.typing import NDArray

from service.bench.gallery.crowd import FACES, HARD, Crowd, person_of
from service.bench.gallery.enrolments import enrol_at_once
from service.bench.gallery.synthetic_gallery import DIGEST
from service.bench.gallery.timing import quantile, timed
from service.database.encryption import Keyring
from service.database.schema import metadata, new_id, now
from service.database.timeouts import without_timeouts
from service.gallery.archive.format import ArchiveWriter, Block
from service.gallery.archive.imports import Rule, restore
from service.gallery.gallery import Gallery
from service.index import vectors
from service.index.base import Matrix

COLLECTION = "facet-bench"
PROBES, SEARCHES = 400, 200
CLIENTS = 8
BLOCK = 200


@dataclass(frozen=True, slots=True)
class EngineRow:
    """One engine.

    Milliseconds are those that a caller waits, the database's part included. Recalls are of the true person at rank 1
    for hard probes, and as a share of what exact search finds. Bytes are of one template.
    """

    engine: str
    templates: int
    p50: float
    p95: float
    batch64: float
    hard: float
    of_exact: float
    filled: float
    """Seconds until an archive of them was imported and the index was compact."""
    enrolled: float
    """Durable enrolments of one face a second, by eight clients."""
    database_bytes: float
    index_bytes: float
    floor: float
    """Median milliseconds of a search among the first thousand."""


@dataclass(frozen=True, slots=True)
class CapacityRow:
    """What so many templates take if everything grows as it was measured.

    In GiB, milliseconds of one search, and hours until an archive is imported.
    """

    engine: str
    templates: int
    database: float
    index: float
    p50: float
    hours: float


def measure_engine(gallery: Gallery, engine: str, count: int, dim: int, folder: Path, seconds: float) -> EngineRow:
    """Fill a collection of its own, measure, and erase it. `folder` is for an archive meanwhile."""
    crowd = Crowd(count // FACES, dim)
    total = crowd.people * FACES
    persons, probes = crowd.probes(PROBES, HARD)
    few = Crowd(BLOCK, dim)
    try:
        _fill(gallery, few, folder)
        floor = _latencies(gallery, few.probes(PROBES, HARD)[1][:SEARCHES, None])
    finally:
        gallery.delete_collection(COLLECTION)
    try:
        filled = _fill(gallery, crowd, folder)
        _analyse(gallery)
        database, index = _database_bytes(gallery), _index_bytes(gallery)
        parts = (gallery.search(COLLECTION, DIGEST, probes[at : at + 50], 1) for at in range(0, PROBES, 50))
        first_persons = [person_of(hits[0].subject) for part in parts for hits in part]
        hard = float(np.mean(np.array(first_persons) == persons))
        exact = float(np.mean(_exact(crowd, probes) == persons))
        single = _latencies(gallery, probes[:SEARCHES, None])
        batch = _latencies(gallery, [probes[:64]] * 5)
        enrolled = len(enrol_at_once(gallery, COLLECTION, dim, CLIENTS, seconds)) / seconds
    finally:
        gallery.delete_collection(COLLECTION)
    return EngineRow(
        engine,
        total,
        quantile(single, 0.5),
        quantile(single, 0.95),
        quantile(batch, 0.5),
        hard,
        hard / exact,
        filled,
        enrolled,
        database / total,
        index / total,
        quantile(floor, 0.5),
    )


def capacity(row: EngineRow, sizes: tuple[int, ...] = (1_000_000, 10_000_000, 50_000_000)) -> list[CapacityRow]:
    """Say what larger galleries take.

    Every search reads every vector, so its time grows with them from that of a thousand on; more cores or machines
    divide it.
    """
    return [
        CapacityRow(
            row.engine,
            size,
            size * row.database_bytes / 2**30,
            size * row.index_bytes / 2**30,
            row.floor + max(0.0, row.p50 - row.floor) * size / row.templates,
            row.filled * size / row.templates / 3600,
        )
        for size in sizes
    ]


def _fill(gallery: Gallery, crowd: Crowd, folder: Path) -> float:
    """Import everybody; returns the seconds of that."""
    archive = folder / "bench.facet"
    _write_archive(archive, crowd)
    started = time.perf_counter()
    restore(gallery.database, archive, Rule.STOP, keyring=Keyring.empty())
    gallery.compact()
    archive.unlink()
    return time.perf_counter() - started


def _write_archive(path: Path, crowd: Crowd) -> None:
    people = _people(crowd)
    at = now().isoformat()
    counts = {"collections": 1, "subjects": 0, "faces": 0, "templates": 0}
    with ArchiveWriter(path) as archive:
        archive.write({"kind": "head", "id": new_id(), "store": "bench", "collections": [COLLECTION]})
        archive.write({"kind": "collection", "name": COLLECTION, "keep_crops": False, "metadata": {}, "created_at": at})
        while some := list(islice(people, BLOCK)):
            block = {
                "subjects_count": len(some),
                "faces_count": len(some) * FACES,
                "templates_count": len(some) * FACES,
            }
            archive.write({"kind": "subjects", "collection": COLLECTION, "last": 0, **block, "subjects": some})
            counts["subjects"] += len(some)
            counts["faces"] += len(some) * FACES
            counts["templates"] += len(some) * FACES
        archive.write({"kind": "end", **counts})
        archive.finish()


def _people(crowd: Crowd) -> Iterator[Block]:
    at = now().isoformat()
    for _, persons, matrix in crowd.chunks():
        for start in range(0, len(persons), FACES):
            faces: list[Block] = [
                {
                    "id": new_id(),
                    "created_at": at,
                    "quality": {},
                    "box": [],
                    "landmarks": [],
                    "source_sha256": "",
                    "templates": {DIGEST: base64.b64encode(vectors.pack(vector)).decode("ascii")},
                    "crop": None,
                }
                for vector in matrix[start : start + FACES]
            ]
            name = f"person-{persons[start]}"
            yield {"id": new_id(), "name": name, "metadata": {}, "created_at": at, "updated_at": at, "faces": faces}


def _latencies(gallery: Gallery, searches: Iterable[Matrix]) -> list[float]:
    """The milliseconds of each search."""
    times: list[float] = []
    for probes in searches:
        timed(times, gallery.search, COLLECTION, DIGEST, probes, 5)
    return times


def _exact(crowd: Crowd, probes: Matrix) -> NDArray[np.int64]:
    """The person whom exact float32 search finds for each probe."""
    best = np.full(len(probes), -np.inf, np.float32)
    person = np.zeros(len(probes), np.int64)
    for _, persons, matrix in crowd.chunks():
        index = faiss.IndexFlatIP(crowd.dim)
        index.add(matrix)
        scores, positions = index.search(probes, 1)
        better = scores[:, 0] > best
        best[better], person[better] = scores[better, 0], persons[positions[better, 0]]
    return person


def _analyse(gallery: Gallery) -> None:
    """What a server would find out about its tables by itself within a minute."""
    if gallery.database.engine.dialect.name == "postgresql":
        with gallery.database.engine.connect() as connection, connection.begin(), without_timeouts(connection):
            connection.exec_driver_sql("ANALYZE")


def _database_bytes(gallery: Gallery) -> int:
    with gallery.database.engine.connect() as connection:
        if connection.dialect.name == "sqlite":
            pages, size = (
                connection.exec_driver_sql(f"PRAGMA {name}").scalar() for name in ("page_count", "page_size")
            )
            return int(pages or 0) * int(size or 0)
        size_of = sa.text("SELECT pg_total_relation_size(to_regclass(:name))")
        return sum(int(connection.scalar(size_of, {"name": table}) or 0) for table in metadata.tables)


def _index_bytes(gallery: Gallery) -> int:
    return sum(size.memory for size in gallery.counts.sizes() if size.collection == COLLECTION)
