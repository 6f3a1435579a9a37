"""Error rates, thresholds and intervals against a search of every threshold there is."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from service.measures.bootstrap import bootstrap_tar
from service.measures.curves import area, curve, equal_error
from service.measures.intervals import wilson
from service.measures.thresholds import accuracy, best_threshold, decide_by_folds, tar_at, threshold_at

# few distinct values, so that ties are common
SCORES = st.lists(st.integers(-8, 8).map(lambda i: i / 8), min_size=1, max_size=25).map(np.array)


@settings(max_examples=60, deadline=None)
@given(SCORES, SCORES)
def test_the_curve_counts_every_comparison(genuine: NDArray[np.float64], impostor: NDArray[np.float64]) -> None:
    found = curve(genuine, impostor)
    for threshold, fmr, fnmr in zip(found.thresholds, found.fmr, found.fnmr, strict=True):
        assert fmr == pytest.approx(np.mean([score >= threshold for score in impostor]))
        assert fnmr == pytest.approx(np.mean([score < threshold for score in genuine]))
    assert (found.fmr[0], found.fnmr[0]) == (1, 0)
    assert (found.fmr[-1], found.fnmr[-1]) == (0, 1)


@settings(max_examples=60, deadline=None)
@given(SCORES, SCORES)
def test_the_area_is_the_chance_of_the_right_order(genuine: NDArray[np.float64], impostor: NDArray[np.float64]) -> None:
    expected = np.mean([(g > i) + 0.5 * (g == i) for g in genuine for i in impostor])
    assert area(genuine, impostor) == pytest.approx(expected)


@settings(max_examples=60, deadline=None)
@given(SCORES, SCORES, st.sampled_from([0.0, 0.05, 0.1, 0.25, 0.5, 1.0]))
def test_tar_at_fmr_is_the_best_that_keeps_the_rate(
    genuine: NDArray[np.float64], impostor: NDArray[np.float64], fmr: float
) -> None:
    candidates = [*genuine, *impostor, 2.0]
    kept = [t for t in candidates if np.mean(impostor >= t) <= fmr + 1e-12]
    expected = max(np.mean(genuine >= t) for t in kept)
    found = tar_at(genuine, impostor, fmr)
    # a threshold between two scores decides like the upper one
    assert found.value == pytest.approx(expected)
    assert np.mean(impostor >= threshold_at(impostor, fmr)) <= fmr + 1e-12
    assert found.ci95 == wilson(round(found.value * len(genuine)), len(genuine))


@settings(max_examples=60, deadline=None)
@given(SCORES, st.integers(0, 10_000))
def test_the_best_threshold_cannot_be_beaten(scores: NDArray[np.float64], seed: int) -> None:
    same = np.random.default_rng(seed).random(len(scores)) < 0.5
    found = np.mean((scores >= best_threshold(scores, same)) == same)
    assert found == pytest.approx(max(np.mean((scores >= t) == same) for t in [*scores, 2.0]))


def test_equal_error_by_hand() -> None:
    assert equal_error(np.array([0.9, 0.8, 0.7, 0.2]), np.array([0.1, 0.3, 0.0, 0.75])) == pytest.approx(0.25)
    assert equal_error(np.array([0.9, 0.8]), np.array([0.1, 0.2])) == 0


def test_folds_take_their_threshold_from_the_others() -> None:
    """Two folds separate at 0.5, the third below 0.3 only: it is judged by the others' threshold."""
    scores = np.array([0.9, 0.1, 0.8, 0.15, 0.3, 0.0])
    same = np.array([True, False, True, False, True, False])
    folds = np.array([0, 0, 1, 1, 2, 2])
    found = decide_by_folds(scores, same, folds)
    # without fold 2 the best cut lies between 0.15 and 0.8, so its genuine pair at 0.3 is missed
    assert found.accuracies == (1.0, 1.0, 0.5)
    assert found.accuracy.value == pytest.approx(2.5 / 3)
    assert found.deviation == pytest.approx(np.std([1, 1, 0.5], ddof=1))
    assert found.thresholds == pytest.approx((0.225, 0.2, 0.475))


def test_accuracy_and_its_interval() -> None:
    found = accuracy(np.array([0.9, 0.4, 0.6, 0.1]), np.array([True, True, False, False]), 0.5)
    assert (found.value, found.trials, found.ci95) == (0.5, 4, wilson(2, 4))


def test_the_bootstrap_knows_that_people_return() -> None:
    """One person who always fails makes the interval of few people wide, where pairs alone would be sure."""
    rng = np.random.default_rng(0)
    people, scores, same = [], [], []
    for person in range(8):
        for _ in range(40):
            people.append((f"p{person}", f"p{person}"))
            scores.append(0.1 if person == 0 else 0.9)
            same.append(True)
    for _ in range(400):
        a, b = rng.choice(8, 2, replace=False)
        people.append((f"p{a}", f"p{b}"))
        scores.append(0.2 + 0.1 * rng.random())
        same.append(False)
    found = bootstrap_tar(np.array(scores), np.array(same), people, 0.01, rounds=300)
    plain = tar_at(np.array(scores)[np.array(same)], np.array(scores)[~np.array(same)], 0.01)
    assert found.value == plain.value == pytest.approx(7 / 8)
    assert found.ci95 is not None
    assert plain.ci95 is not None
    assert found.ci95[0] < plain.ci95[0] - 0.1
    assert found.ci95[0] <= found.value <= found.ci95[1]
