"""Measures how long a gallery takes to open."""

from __future__ import annotations

import time
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path

from service.bench.gallery.synthetic_gallery import fill
from service.gallery.embedded import open_embedded


@dataclass(frozen=True, slots=True)
class StartRow:
    """One start of a gallery: how many templates, from where, and the seconds until it answers."""

    templates: int
    source: str
    seconds: float


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
