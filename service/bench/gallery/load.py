"""Measures the gallery on synthetic people: recall and latency of the index, stalls, starts, and enrolments per second.

People are random directions; a person's templates have cosine about 0.6 with each other, an easy probe about 0.6 with
them, a hard one about 0.35. Nothing here depends on a model or a photograph.
"""

from __future__ import annotations

import itertools
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing, nullcontext, suppress
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import faiss
import numpy as np
import sqlalchemy as sa
from numpy.typing import NDArray

from service.database.encryption import Keyring
from service.database.schema import collections, faces, models, new_id, now, subjects, templates
from service.database.template_seal import TemplatePlace, seal_template
from service.gallery.embedded import open_embedded
from service.gallery.gallery import Gallery
from service.gallery.records import NewFace
from service.index import vectors
from service.index.base import Matrix, Rows
from service.index.embedded.index import idle_cores, prefer_matrix_products
from service.index.embedded.segment import BuildStopped
from service.index.embedded.tiered import TieredIndex, Tiers

FACES = 5
CHUNK = 10_000
EASY, HARD = 0.6, 0.35
DIGEST = "be" * 32


@dataclass(frozen=True, slots=True)
class IndexRow:
    """One index at one size. Times in milliseconds; recalls are of the true person at rank 1; memory in MiB."""

    index: str
    templates: int
    single: float
    single_p99: float
    batch64: float
    easy: float
    hard: float
    memory: float
    build_seconds: float
    add: float
    remove: float


@dataclass(frozen=True, slots=True)
class StallRow:
    """Latency of one kind of call, in milliseconds, while something else goes on."""

    call: str
    beside: str
    calls: int
    p50: float
    p99: float
    worst: float


@dataclass(frozen=True, slots=True)
class StartRow:
    """One start of a gallery: how many templates, from where, and the seconds until it answers."""

    templates: int
    source: str
    seconds: float


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


class Crowd:
    """Synthetic people, made again from their seed whenever they are needed, so that they take no memory."""

    def __init__(self, people: int, dim: int, seed: int = 7) -> None:
        """Stand for so many people, with templates of `dim` dimensions."""
        self.people, self.dim, self._seed = people, dim, seed

    def centres(self, persons: NDArray[np.int64]) -> Matrix:
        """Return the directions of some persons."""
        centres = np.empty((len(persons), self.dim), np.float32)
        for chunk in np.unique(persons // (CHUNK // FACES)):
            here = persons // (CHUNK // FACES) == chunk
            centres[here] = self._chunk_centres(int(chunk))[persons[here] % (CHUNK // FACES)]
        return centres

    def chunks(self) -> Iterator[tuple[Rows, Rows, Matrix]]:
        """Return all templates: rows from 1 on, persons, and vectors rounded as the database rounds them."""
        for chunk in range(-(-self.people * FACES // CHUNK)):
            centres = np.repeat(self._chunk_centres(chunk), FACES, axis=0)
            noise = unit(np.random.default_rng((self._seed, chunk, 1)).standard_normal(centres.shape, np.float32))
            matrix = unit(np.sqrt(0.6) * centres + np.sqrt(0.4) * noise)
            rows = np.arange(chunk * CHUNK, min((chunk + 1) * CHUNK, self.people * FACES))
            yield rows + 1, rows // FACES, matrix[: len(rows)].astype(np.float16).astype(np.float32)

    def probes(self, count: int, cosine: float) -> tuple[NDArray[np.int64], Matrix]:
        """Return probes of random persons with about this cosine with their templates."""
        random = np.random.default_rng((self._seed, count, int(100 * cosine)))
        persons = random.integers(0, self.people, count)
        noise = unit(random.standard_normal((count, self.dim), np.float32))
        along = cosine / np.sqrt(0.6)
        return persons, unit(along * self.centres(persons) + np.sqrt(1 - along**2) * noise)

    def _chunk_centres(self, chunk: int) -> Matrix:
        random = np.random.default_rng((self._seed, chunk, 0))
        return unit(random.standard_normal((CHUNK // FACES, self.dim), np.float32))


def measure_index(count: int, dim: int, *, probes: int = 2000, tiers: Tiers | None = None) -> list[IndexRow]:
    """Measure the embedded index beside exact float32 flat search, in one run.

    faiss searches flat for one probe on one thread; the embedded index has the helpers that the gallery gives it.
    """
    prefer_matrix_products(1)
    crowd = Crowd(count // FACES, dim)
    easy, hard = crowd.probes(probes, EASY), crowd.probes(probes, HARD)
    before = _resident()
    parts: list[float] = []  # people are made in between, which is no part of building
    with idle_cores() or nullcontext() as helpers:
        tiered = TieredIndex(dim, tiers, helpers=helpers)
        for rows, groups, matrix in crowd.chunks():
            timed(parts, tiered.add, rows, groups, matrix)
            timed(parts, _settle, tiered, (tiers or Tiers()).segment)
        timed(parts, _settle, tiered)
        ours = _row("embedded", tiered, crowd, (easy, hard), sum(parts) / 1000, _resident() - before)
        del tiered
    parts = []
    before = _resident()
    flat = Flat(dim)
    for _, groups, matrix in crowd.chunks():
        timed(parts, flat.add, groups, matrix)
    exact = _row("exact float32", flat, crowd, (easy, hard), sum(parts) / 1000, _resident() - before)
    return [exact, ours]


def _settle(index: TieredIndex, fresh: int = -1) -> None:
    """Compact while there is something to do and more than `fresh` templates wait for it."""
    while index.fresh > fresh and index.compact():
        pass


class Flat:
    """faiss' exact index, as the yardstick."""

    def __init__(self, dim: int) -> None:
        """Hold vectors of `dim` dimensions."""
        self.index = faiss.IndexFlatIP(dim)
        self.groups: list[Rows] = []

    def add(self, groups: Rows, matrix: Matrix) -> None:
        """Add vectors (N, D) of people (N,)."""
        self.index.add(matrix)
        self.groups.append(groups)

    def best(self, probes: Matrix) -> Rows:
        """Return the person nearest to each probe."""
        _, positions = self.index.search(probes, 1)
        return np.concatenate(self.groups)[positions[:, 0]]


def _row(
    name: str,
    index: TieredIndex | Flat,
    crowd: Crowd,
    probes: tuple[tuple[NDArray[np.int64], Matrix], tuple[NDArray[np.int64], Matrix]],
    build: float,
    memory: float,
) -> IndexRow:
    def best(matrix: Matrix) -> Rows:
        if isinstance(index, Flat):
            return index.best(matrix)
        return np.array([rows.groups[0] for rows in index.search(matrix, 1)])

    def look(matrix: Matrix) -> None:
        index.index.search(matrix, 1) if isinstance(index, Flat) else index.search(matrix, 1)

    (easy_persons, easy), (hard_persons, hard) = probes
    recalls = [
        float(np.mean(np.concatenate([best(vectors[at : at + 64]) for at in range(0, len(vectors), 64)]) == persons))
        for persons, vectors in ((easy_persons, easy), (hard_persons, hard))
    ]
    single: list[float] = []
    for at in range(min(200, len(hard))):
        timed(single, look, hard[at : at + 1])
    batch: list[float] = []
    for _ in range(5):
        timed(batch, look, hard[:64])
    add: list[float] = []
    remove: list[float] = []
    if isinstance(index, TieredIndex):
        last, fresh = crowd.people * FACES, crowd.probes(200, EASY)[1]
        for at in range(200):
            timed(add, index.add, *_one(last + 1 + at, fresh[at]))
            timed(remove, index.remove, np.array([1 + 37 * at]))
    return IndexRow(
        name,
        crowd.people * FACES,
        quantile(single, 0.5),
        quantile(single, 0.99),
        quantile(batch, 0.5),
        recalls[0],
        recalls[1],
        memory,
        build,
        quantile(add, 0.5),
        quantile(remove, 0.5),
    )


def measure_stalls(count: int, dim: int, seconds: float = 10.0) -> list[StallRow]:
    """Measure searches, additions and removals side by side, first quietly, then with a rebuild always under way."""
    with idle_cores() or nullcontext() as helpers:
        return _stalls(TieredIndex(dim, helpers=helpers), Crowd(count // FACES, dim), seconds)


def _stalls(index: TieredIndex, crowd: Crowd, seconds: float) -> list[StallRow]:
    for rows, groups, matrix in crowd.chunks():
        index.add(rows, groups, matrix)
        while index.compact():
            pass
    _, probes = crowd.probes(500, HARD)
    result = []
    last = crowd.people * FACES
    for beside in ("nothing", "rebuilding"):
        done = threading.Event()
        times: dict[str, list[float]] = {"search": [], "add": [], "remove": []}
        with ThreadPoolExecutor(2) as pool:
            others = [pool.submit(_search_on, index, probes, times["search"], done)]
            if beside == "rebuilding":
                others.append(pool.submit(_rebuild_on, index, crowd.people * FACES, done))
            try:
                end = time.monotonic() + seconds
                while time.monotonic() < end:
                    last += 1
                    timed(times["add"], index.add, *_one(last, probes[last % 500]))
                    timed(times["remove"], index.remove, np.array([last]))
                    time.sleep(0.002)
            finally:
                done.set()
            for other in others:
                other.result()
        result += [
            StallRow(call, beside, len(taken), quantile(taken, 0.5), quantile(taken, 0.99), quantile(taken, 1))
            for call, taken in times.items()
        ]
    return result


def _search_on(index: TieredIndex, probes: Matrix, taken: list[float], done: threading.Event) -> None:
    while not done.is_set():
        timed(taken, index.search, probes[len(taken) % 500][None], 5)


def _rebuild_on(index: TieredIndex, count: int, done: threading.Event) -> None:
    random = np.random.default_rng(1)
    while not done.is_set():
        index.remove(random.integers(1, count, 3))
        with suppress(BuildStopped):
            index.compact(done.is_set, thorough=True)


def measure_starts(directory: Path, count: int, dim: int) -> list[StartRow]:
    """Measure starts of a gallery of `count` templates: from the database alone, then from its segment files."""
    fill(directory, count, dim)
    started = time.perf_counter()
    with closing(open_embedded(directory)) as gallery:
        rows = [StartRow(count, "database", time.perf_counter() - started)]
        gallery.compact()
    started = time.perf_counter()
    with closing(open_embedded(directory)) as gallery:
        whole, loaded = time.perf_counter() - started, gallery.index.loaded
    return [*rows, StartRow(count, f"files ({loaded.from_files} of {loaded.templates})", whole)]


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


def fill(directory: Path, count: int, dim: int, collection: str = "bench") -> None:
    """Write a gallery of `count` templates straight into the database, as fast as the disk allows."""
    gallery = open_embedded(directory)
    try:
        gallery.create_collection(collection)
        crowd = Crowd(count // FACES, dim)

        def prepare(connection: sa.Connection) -> tuple[int, int]:
            connection.execute(sa.insert(models).values(digest=DIGEST, dim=dim))
            row = connection.scalar(sa.select(collections.c.row).where(collections.c.name == collection))
            model = connection.scalar(sa.select(models.c.row).where(models.c.digest == DIGEST))
            return int(row or 0), int(model or 0)

        place = gallery.database.write(prepare)
        for rows, persons, matrix in crowd.chunks():
            gallery.database.write(partial(_insert, place=place, rows=rows, persons=persons, matrix=matrix))
    finally:
        gallery.close()


def _insert(connection: sa.Connection, place: tuple[int, int], rows: Rows, persons: Rows, matrix: Matrix) -> None:
    collection, model = place
    at = now()
    people = [
        {
            "row": int(person) + 1,
            "id": new_id(),
            "collection_row": collection,
            "name": f"person-{person}",
            "metadata": {},
        }
        for person in np.unique(persons)
    ]
    connection.execute(sa.insert(subjects).values(created_at=at, updated_at=at), people)
    connection.execute(
        sa.insert(faces).values(
            collection_row=collection, created_at=at, quality={}, box=[], landmarks=[], source_sha256=""
        ),
        [
            {"row": int(row), "id": new_id(), "subject_row": int(person) + 1}
            for row, person in zip(rows, persons, strict=True)
        ],
    )
    connection.execute(
        sa.insert(templates).values(model_row=model, collection_row=collection),
        [
            {"row": int(row), "face_row": int(row), "subject_row": int(person) + 1}
            | seal_template(
                Keyring.empty(),
                vectors.pack(vector),
                TemplatePlace(collection, int(person) + 1, int(row), model),
            )
            for row, person, vector in zip(rows, persons, matrix, strict=True)
        ],
    )


def _one(row: int, vector: Matrix) -> tuple[Rows, Rows, Matrix]:
    return np.array([row]), np.array([row]), vector[None]


def unit(values: Matrix) -> Matrix:
    """Scale the rows of (N, D) to unit length."""
    return np.asarray(values / np.linalg.norm(values, axis=1, keepdims=True), np.float32)


def person_of(subject: str) -> int:
    """Whose subject that is: the number behind `person-`."""
    return int(subject.removeprefix("person-"))


def timed(taken: list[float], call: Callable[..., object], *arguments: object) -> None:
    """Append the milliseconds of one call."""
    started = time.perf_counter()
    call(*arguments)
    taken.append(1000 * (time.perf_counter() - started))


def quantile(values: list[float], share: float) -> float:
    """The value below which a share of `values` lies; NaN where there are none."""
    return float(np.quantile(values, share)) if values else float("nan")


def _resident() -> float:
    """Resident memory of this process in MiB."""
    pages = int(Path("/proc/self/statm").read_text(encoding="ascii").split()[1])
    return pages * 4096 / 2**20
