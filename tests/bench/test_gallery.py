"""Searches by normalised scores are measured on the gallery, the index and the rule that serve them."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from service.bench.gallery.load import Crowd, fill
from service.bench.gallery.normalised import Cohort, measure_normalised

COUNT, DIM = 1500, 64


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
