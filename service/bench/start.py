"""Time from a cold start to readiness with a large gallery."""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from service.api.schemas.requests import DEFAULT_COLLECTION
from service.bench.floor import served_models
from service.bench.server import Server, make_key
from service.database.schema import new_id
from service.gallery.embedded import SEGMENTS, open_embedded
from service.gallery.records import NewFace
from service.settings import Settings

FACES_PER_SUBJECT = 10
WRITERS = 8


@dataclass(frozen=True, slots=True)
class Start:
    """How long a start takes.

    Templates enrolled, and the seconds from starting the process to its first good answer of /readyz: the first time
    from the database alone, and again when the index has settled into files; and the CPU seconds that each took, which
    other programs on the machine do not lengthen as much.
    """

    templates: int
    first: float
    again: float
    first_cpu: float
    again_cpu: float


def measure_start(settings: Settings, folder: Path, templates: int, tell: Callable[[str], None]) -> Start:
    """Enrol random templates of the default model, then start the service twice. Raises: BenchError."""
    data = folder / "data"
    make_key(data)
    _, embedder = served_models(settings)
    tell(f"enrolling {templates} templates")
    fill_gallery(data, embedder.digest, embedder.dim, templates)
    shutil.rmtree(data / SEGMENTS, ignore_errors=True)  # what settled while it was enrolled
    seconds: list[float] = []
    cpu: list[float] = []
    for turn in ("first start", "second start"):
        tell(turn)
        if seconds:
            with closing(open_embedded(data)) as gallery:
                gallery.compact()
        _forget_cached_pages(data)
        with Server(data) as server:
            cpu.append(server.cpu_seconds())
            seconds.append(server.startup_seconds)
    return Start(templates, *seconds, *cpu)


def fill_gallery(data: Path, digest: str, dim: int, templates: int) -> None:
    """Enrol random unit templates, ten faces a subject, in the data folder's default collection."""
    with closing(open_embedded(data)) as gallery:
        gallery.create_collection(DEFAULT_COLLECTION)

        def enroll(number: int) -> None:
            count = min(FACES_PER_SUBJECT, templates - number * FACES_PER_SUBJECT)
            vectors = np.random.default_rng(number).standard_normal((count, dim)).astype(np.float32)
            vectors /= np.linalg.norm(vectors, axis=1, keepdims=True)
            faces = [NewFace(new_id(), {digest: vector}) for vector in vectors]
            gallery.enroll(DEFAULT_COLLECTION, f"subject {number}", faces)

        with ThreadPoolExecutor(WRITERS) as writers:
            list(writers.map(enroll, range(-(-templates // FACES_PER_SUBJECT))))


def _forget_cached_pages(folder: Path) -> None:
    """Let the next reader of the folder's files come from the disk."""
    for path in folder.rglob("*"):
        if path.is_file():
            descriptor = os.open(path, os.O_RDONLY)
            try:
                os.fsync(descriptor)
                os.posix_fadvise(descriptor, 0, 0, os.POSIX_FADV_DONTNEED)
            finally:
                os.close(descriptor)
