"""The gallery is measured as it serves: its searches, its starts, its enrolments, and nothing else with them."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from service.bench.gallery import starts, timing
from service.bench.gallery.crowd import Crowd
from service.bench.gallery.enrolments import enrol_at_once
from service.bench.gallery.index import measure_index
from service.bench.gallery.normalised import Cohort, measure_normalised
from service.bench.gallery.starts import measure_starts
from service.bench.gallery.synthetic_gallery import fill
from service.gallery.embedded import open_embedded
from service.gallery.errors import CollectionNotFound

COUNT, DIM = 1500, 64


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> SimpleNamespace:
    """A clock of the measurement that stands still unless `seconds` are added."""
    clock = SimpleNamespace(seconds=0.0)
    for module in (starts, timing):
        monkeypatch.setattr(module, "time", SimpleNamespace(perf_counter=lambda: clock.seconds))
    return clock


def test_people_are_made_outside_of_the_time_that_an_index_takes(
    clock: SimpleNamespace, monkeypatch: pytest.MonkeyPatch
) -> None:
    make: Callable[[Crowd], Iterator[Any]] = Crowd.chunks

    def make_slowly(crowd: Crowd) -> Iterator[Any]:
        for chunk in make(crowd):
            clock.seconds += 1000
            yield chunk

    monkeypatch.setattr(Crowd, "chunks", make_slowly)
    exact, embedded = measure_index(500, DIM, probes=50)
    assert (exact.templates, embedded.templates) == (500, 500)
    assert (exact.build_seconds, embedded.build_seconds) == (0, 0)
    assert (exact.easy, embedded.easy) == (1, 1)


def test_a_start_is_the_whole_opening_from_wherever_templates_come(
    tmp_path: Path, clock: SimpleNamespace, monkeypatch: pytest.MonkeyPatch
) -> None:
    fill(tmp_path / "gallery", 500, DIM)

    def open_slowly(directory: Path) -> Any:
        clock.seconds += 7
        return open_embedded(directory)

    monkeypatch.setattr(starts, "fill", lambda *_: None)
    monkeypatch.setattr(starts, "open_embedded", open_slowly)
    database, files = measure_starts(tmp_path / "gallery", 500, DIM)
    assert (database.source, database.seconds) == ("database", 7)
    assert (files.source, files.seconds) == ("files (0 of 500)", 7), "so few are written to no file"


def test_an_enrolment_that_fails_ends_the_measurement(tmp_path: Path) -> None:
    with closing(open_embedded(tmp_path)) as gallery, pytest.raises(CollectionNotFound):
        enrol_at_once(gallery, "nowhere", DIM, 2, seconds=5)


def test_offsets_are_as_large_as_the_bundled_models_give_and_never_raise_a_score() -> None:
    templates = next(Crowd(2000, 256).chunks())[2]
    offsets = Cohort(Crowd(2000, 256)).offsets(templates)
    assert offsets.max() <= 0
    assert 0.2 < np.mean(offsets == 0) < 0.3  # a quarter is ordinary
    assert -0.03 < offsets.mean() < -0.01
    assert -0.2 < offsets.min() < -0.08


def test_the_gallery_finds_whom_exact_search_by_the_same_score_finds(tmp_path: Path) -> None:
    fill(tmp_path, COUNT, DIM)
    exact, cosine, normalised = measure_normalised(tmp_path, COUNT, DIM, probes=100)
    assert (normalised.easy, normalised.hard) == (exact.easy, exact.hard)
    assert exact.easy > 0.99
    assert cosine.easy > 0.99
    assert {row.templates for row in (exact, cosine, normalised)} == {COUNT}
    assert min(row.single for row in (exact, cosine, normalised)) > 0
