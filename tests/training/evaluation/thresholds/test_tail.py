"""The fitted tail against distributions whose tails are known."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.stats import beta, norm

from service.face.manifest import CalibratedThreshold
from training.evaluation.thresholds.tail import extend, fit_tail


@pytest.mark.parametrize(
    "known", [norm(0.05, 0.09), beta(60, 60, loc=-1, scale=2)], ids=["normal", "cosines in 121 dimensions"]
)
def test_a_threshold_a_hundred_times_beyond_the_data_is_nearly_right(known: object) -> None:
    scores = known.rvs(1_000_000, random_state=np.random.default_rng(3))  # type: ignore[attr-defined]
    tail = fit_tail(scores)
    beyond = tail.threshold(1e-8)
    assert known.sf(beyond) == pytest.approx(1e-8, rel=4)  # type: ignore[attr-defined]
    assert known.sf(tail.threshold(1e-5)) == pytest.approx(1e-5, rel=0.4)  # type: ignore[attr-defined]
    assert tail.fmr(tail.threshold(1e-7)) == pytest.approx(1e-7, rel=1e-6)


def test_a_straight_line_through_the_last_decade_is_too_strict_where_the_tail_is_short() -> None:
    """Log-linear thresholds refuse people whom the fitted tail still knows."""
    scores = norm(0.05, 0.09).rvs(1_000_000, random_state=np.random.default_rng(1))
    five, four = (float(np.quantile(scores, 1 - rate)) for rate in (1e-4, 1e-3))
    line = five + (five - four) * 4
    assert norm(0.05, 0.09).sf(line) < norm(0.05, 0.09).sf(fit_tail(scores).threshold(1e-8)) / 3


def test_the_interval_widens_with_the_distance() -> None:
    rng = np.random.default_rng(0)
    scores = rng.normal(0, 0.1, 200_000)
    left, right = rng.integers(0, 300, 200_000).astype(np.int32), rng.integers(300, 600, 200_000).astype(np.int32)
    last = CalibratedThreshold(
        fmr=1e-3, threshold=float(np.quantile(scores, 0.999)), impostor_trials=200_000, ci95=(9e-4, 1.1e-3)
    )
    rows = extend(scores, left, right, 600, last)
    widths = [np.log10(row.ci95[1] / max(row.ci95[0], 1e-30)) for row in rows]
    assert widths[0] < widths[4] < widths[8]
    assert rows[0].threshold > last.threshold


def test_a_tail_keeps_its_rates_where_counting_ends_far_above_it() -> None:
    """One false match in ten alone was asked: a tail of the highest thousand does not begin there."""
    known = norm(0, 0.1)
    scores = known.rvs(200_000, random_state=np.random.default_rng(0))
    rng = np.random.default_rng(1)
    left, right = rng.integers(0, 300, 200_000).astype(np.int32), rng.integers(300, 600, 200_000).astype(np.int32)
    last = CalibratedThreshold(
        fmr=0.1, threshold=float(np.quantile(scores, 0.9)), impostor_trials=200_000, ci95=(0.09, 0.11)
    )
    rows = extend(scores, left, right, 600, last, rounds=2)
    assert rows[0].fmr <= 1000 / 200_000
    assert rows[0].threshold > last.threshold
    for row in rows[:6]:
        assert known.sf(row.threshold) == pytest.approx(row.fmr, rel=0.5)


def test_too_few_scores_have_no_tail() -> None:
    scores = np.random.default_rng(0).normal(0, 0.1, 500)
    nobody = np.zeros(500, np.int32)
    last = CalibratedThreshold(fmr=0.1, threshold=0.13, impostor_trials=500, ci95=(0.05, 0.2))
    assert extend(scores, nobody, nobody + 1, 2, last) == ()


def test_one_person_under_two_names_does_not_make_the_tail() -> None:
    """Twenty genuine scores among a million impostors' move the threshold of 1e-8 hardly."""
    scores = norm(0.05, 0.09).rvs(1_000_000, random_state=np.random.default_rng(1))
    spoilt = np.concatenate([scores, np.random.default_rng(2).uniform(0.6, 0.95, 20)])
    assert fit_tail(spoilt).threshold(1e-8) == pytest.approx(fit_tail(scores).threshold(1e-8), abs=0.1)
    assert fit_tail(spoilt).shape <= 0
