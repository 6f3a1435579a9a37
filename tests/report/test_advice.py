"""What to ask for, so that a wanted rate is kept on the people at hand."""

from __future__ import annotations

import numpy as np
import pytest

from service.face.manifest import CalibratedThreshold
from service.face.score import ThresholdTable
from service.measures.all_pairs import compare_all
from service.measures.resampling import Resampled, rates_at
from service.report.advice import advise

TABLE = ThresholdTable(
    [
        CalibratedThreshold(fmr=fmr, threshold=score, impostor_trials=10**9, ci95=(fmr / 2, fmr * 2))
        for fmr, score in ((1e-1, 0.1), (1e-2, 0.2), (1e-3, 0.3), (1e-4, 0.4))
    ]
)


def crowd(spread: float, people: int = 150) -> Resampled:
    """Strangers whose scores are normal with a standard deviation; each person has two photographs that are alike."""
    rng = np.random.default_rng(0)
    person = np.repeat(np.arange(people), 2)
    vectors = rng.normal(size=(2 * people, round(1 / spread**2)))
    vectors[1::2] += 5 * vectors[::2]
    vectors /= np.linalg.norm(vectors, axis=1, keepdims=True)
    return Resampled(compare_all(vectors.astype(np.float32), person), np.bincount(person), rounds=60)


def test_where_more_matches_than_is_promised_a_stricter_rate_is_asked_for() -> None:
    data = crowd(0.1)  # at 0.2, which stands for 1e-2, some 2.3 % match
    found = advise(data, TABLE, 1e-2, "all")
    assert found.fmr is not None
    assert found.observed is not None
    assert found.observed.ci95 is not None
    assert 1e-4 < found.fmr < 1e-2
    assert found.observed.ci95[1] <= 1e-2
    looser = rates_at(data, TABLE.at(found.fmr * 10**0.1).value)
    assert looser.fmr is not None
    assert looser.fmr.ci95 is not None
    assert looser.fmr.ci95[1] > 1e-2, "and no stricter one than is needed"


def test_where_the_promise_is_kept_the_rate_itself_is_asked_for() -> None:
    found = advise(crowd(0.05), TABLE, 1e-2, "all")
    assert (found.fmr, found.why) == (1e-2, "the rate itself is kept")


def test_too_few_comparisons_give_no_advice() -> None:
    found = advise(crowd(0.1, people=4), TABLE, 1e-2, "women")
    assert (found.among, found.fmr) == ("women", None)
    assert "3000 are needed" in found.why


def test_where_no_rate_of_the_calibration_keeps_it_that_is_said() -> None:
    found = advise(crowd(0.3), TABLE, 1e-3, "all")
    assert found.fmr is None
    assert "no rate of the calibration" in found.why


@pytest.mark.parametrize("wanted", [1e-2, 1e-4])
def test_candidates_reach_from_the_wanted_rate_to_the_end_of_the_calibration(wanted: float) -> None:
    found = advise(crowd(0.02, people=400), TABLE, wanted, "all")
    assert found.fmr == pytest.approx(wanted)
