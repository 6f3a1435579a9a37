"""The similarity that clients compare with their constants means the false match rate that the documents state."""

from __future__ import annotations

from itertools import pairwise

import numpy as np
import pytest

from service.compreface.similarity import ANCHORS, rate_among, similarity_of
from service.face.cross_model import Strictest
from service.face.errors import ThresholdUnsupported
from service.face.registry import Registry
from service.face.score import ThresholdTable
from tests.conftest import STARTER

MODELS = [folder.manifest for folder in Registry.scan([STARTER]).folders("embedder")]
TABLES = [ThresholdTable(manifest.thresholds, manifest.tail) for manifest in MODELS]


@pytest.mark.parametrize("table", TABLES, ids=[manifest.identity for manifest in MODELS])
@pytest.mark.parametrize("people", [1, 10, 10_000])
def test_a_usual_constant_is_a_threshold_of_a_stated_rate(table: ThresholdTable, people: int) -> None:
    for rate, similarity in ANCHORS:
        if rate in table.rates:
            threshold = table.for_gallery(rate, people).value
            assert similarity_of(threshold, table, people) == pytest.approx(similarity, abs=2e-5)
            assert similarity_of(threshold - 0.01, table, people) < similarity
            assert similarity_of(threshold + 0.01, table, people) > similarity


@pytest.mark.parametrize("table", [*TABLES, Strictest(TABLES)])
@pytest.mark.parametrize("people", [1, 1000])
def test_it_never_falls_while_the_score_rises(table: ThresholdTable, people: int) -> None:
    values = [similarity_of(score, table, people) for score in np.linspace(-1.5, 1.0, 501)]
    assert all(low <= high for low, high in pairwise(values))
    assert (values[0], values[-1]) == (0.0, 1.0)


def test_a_score_just_below_a_threshold_is_not_rounded_up_to_its_constant() -> None:
    table = TABLES[0]
    assert similarity_of(table.at(1e-3).value, table) == 0.85
    assert similarity_of(table.at(1e-3).value - 1e-6, table) < 0.85


def test_a_calibrated_rate_is_told_back() -> None:
    for table in TABLES:
        for rate in (*table.rates, 1e-7, 1e-12):
            score = table.at(rate).value if rate in table.rates else table.for_gallery(1e-3, round(1e-3 / rate)).value
            assert table.rate_of(score) == pytest.approx(rate, rel=2e-3)
        assert table.rate_of(-1.0) == 1.0


def test_the_rate_among_many_is_that_of_meeting_any() -> None:
    assert rate_among(1e-4, 1) == pytest.approx(1e-4)
    assert rate_among(1e-4, 100) == pytest.approx(1 - (1 - 1e-4) ** 100)
    assert rate_among(1.0, 5) == 1.0


def test_a_model_without_calibration_has_no_similarity() -> None:
    with pytest.raises(ThresholdUnsupported):
        similarity_of(0.5, ThresholdTable([]))
