"""Thresholds: calibrated, interpolated, corrected for gallery size; intervals against their definition."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import assume, given
from hypothesis import strategies as st
from scipy.stats import norm

from service.face.errors import InferenceFailed, ThresholdUnsupported
from service.face.manifest import CalibratedThreshold
from service.face.score import ThresholdTable, corrected_fmr, cosine
from service.measures.intervals import wilson


def row(fmr: float, threshold: float) -> CalibratedThreshold:
    return CalibratedThreshold(fmr=fmr, threshold=threshold, impostor_trials=10_000_000, ci95=(fmr / 2, fmr * 2))


TABLE = ThresholdTable([row(1e-2, 0.20), row(1e-3, 0.30), row(1e-4, 0.42), row(1e-5, 0.50)])


def test_calibrated_points_are_given_as_measured() -> None:
    assert TABLE.at(1e-3).value == 0.30
    assert TABLE.at(1e-3).basis == "measured"
    assert TABLE.rates == (1e-2, 1e-3, 1e-4, 1e-5)


def test_between_points_the_rate_is_log_linear() -> None:
    between = TABLE.at(10**-3.5)
    assert between.basis == "interpolated"
    assert between.value == pytest.approx(0.36)
    assert TABLE.fmr_of(0.36) == pytest.approx(10**-3.5)
    assert TABLE.fmr_of(0.19) is None
    assert TABLE.fmr_of(0.51) is None


@pytest.mark.parametrize("fmr", [0.05, 9e-6])
def test_outside_the_calibration_is_refused_and_says_what_there_is(fmr: float) -> None:
    with pytest.raises(ThresholdUnsupported) as caught:
        TABLE.at(fmr)
    assert caught.value.supported == TABLE.rates


def test_a_rate_beyond_thresholds_that_are_equal_goes_on_as_before_them() -> None:
    ends = ThresholdTable([row(1e-2, 0.20), row(5e-3, 0.20), row(1e-3, 0.30), row(1e-4, 0.42), row(5e-5, 0.42)])
    assert ends.rate_of(0.5) < ends.rate_of(0.45) < 5e-5
    assert 1e-2 < ends.rate_of(0.15) < ends.rate_of(0.1) < 1
    one = ThresholdTable([row(1e-3, 0.30), row(1e-4, 0.30)])
    assert (one.rate_of(0.4), one.rate_of(0.2)) == (pytest.approx(1e-4), 1.0)


def test_without_calibration_there_is_no_threshold() -> None:
    with pytest.raises(ThresholdUnsupported):
        ThresholdTable([]).at(1e-3)


def test_a_gallery_of_one_is_a_verification() -> None:
    assert TABLE.for_gallery(1e-3, 1) == TABLE.at(1e-3)
    assert TABLE.for_gallery(1e-3, 0) == TABLE.at(1e-3)


def test_a_search_of_ten_asks_a_tenth_of_the_rate() -> None:
    assert TABLE.for_gallery(1e-3, 10).value == pytest.approx(0.42, abs=1e-4)


def test_beyond_the_calibration_the_tail_goes_on_and_says_so() -> None:
    far = TABLE.for_gallery(1e-3, 10_000)
    assert far.basis == "extrapolated"
    assert far.value == pytest.approx(0.50 + 2 * 0.08, abs=1e-3)
    assert far.fmr == pytest.approx(1e-7, rel=1e-3)


@given(st.integers(1, 10**7), st.integers(1, 10**7), st.floats(1.01e-5, 0.99e-2))
def test_thresholds_never_fall_as_the_gallery_grows(one: int, other: int, fpir: float) -> None:
    small, large = sorted((one, other))
    assert TABLE.for_gallery(fpir, small).value <= TABLE.for_gallery(fpir, large).value + 1e-12


@given(st.floats(1e-6, 0.5), st.integers(1, 10**6))
def test_the_correction_is_the_binomial_relation(fpir: float, n: int) -> None:
    single = corrected_fmr(fpir, n)
    assert -math.expm1(n * math.log1p(-single)) == pytest.approx(fpir, rel=1e-6)


@given(st.integers(1, 10_000), st.data())
def test_wilson_solves_its_own_equation(trials: int, data: st.DataObject) -> None:
    """The ends are where the score test of the observed share just fails."""
    successes = data.draw(st.integers(0, trials))
    z = norm.ppf(0.975)
    for end in wilson(successes, trials):
        assume(1e-6 < end < 1 - 1e-6)
        assert abs(successes / trials - end) == pytest.approx(
            z * math.sqrt(end * (1 - end) / trials), rel=1e-6, abs=1e-9
        )


def test_cosine_stays_within_its_range() -> None:
    vector = np.full(3, 1 / math.sqrt(3), np.float32) * np.float32(1.0000001)
    assert cosine(vector, vector) <= 1.0
    assert cosine(vector, -vector) >= -1.0


@pytest.mark.parametrize("value", [float("nan"), float("inf")])
def test_a_vector_that_is_not_finite_gives_an_error_and_no_score(value: float) -> None:
    with pytest.raises(InferenceFailed):
        cosine(np.array([value, 0.0], np.float32), np.array([1.0, 0.0], np.float32))
