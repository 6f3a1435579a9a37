"""Rates and the DET curve of drawn people against comparisons that are copied as often as their people were drawn."""

from __future__ import annotations

import numpy as np
import pytest
from numpy.typing import NDArray

from service.measures.all_pairs import AllPairs
from service.measures.intervals import Estimate, wilson
from service.measures.resampling import Resampled, det, rates_at, resample_rates
from service.measures.thresholds import tar_at

ROUNDS = 25


def study(seed: int, people: int = 9, most: int = 4, *, every: bool = True) -> Resampled:
    """All comparisons of people with some photographs each, or half of them; scores have one decimal, so many tie."""
    rng = np.random.default_rng(seed)
    owner = np.repeat(np.arange(people), rng.integers(min(2, most), most + 1, people))
    first, second = np.triu_indices(len(owner), 1)
    if not every:
        chosen = rng.random(len(first)) < 0.5
        first, second = first[chosen], second[chosen]
    same = owner[first] == owner[second]
    scores = np.round(rng.normal(np.where(same, 0.6, 0.2), 0.2), 1)
    left, right = owner[first].astype(np.int32), owner[second].astype(np.int32)
    pairs = AllPairs(scores[~same], left[~same], right[~same], scores[same], left[same])
    return Resampled(pairs, np.bincount(owner), every, ROUNDS, seed)


def copied(data: Resampled, drawn: NDArray[np.int64]) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Genuine and impostor scores of a draw, each copied as often as it counts."""
    pairs = data.pairs
    impostor = [
        s for s, a, b in zip(pairs.impostor, pairs.left, pairs.right, strict=True) for _ in range(drawn[a] * drawn[b])
    ]
    genuine = [s for s, a in zip(pairs.genuine, pairs.owner, strict=True) for _ in range(drawn[a])]
    return np.array(genuine), np.array(impostor)


@pytest.mark.parametrize("every", [True, False])
@pytest.mark.parametrize("seed", range(5))
def test_drawn_rates_are_those_of_copied_comparisons(seed: int, every: bool) -> None:
    data = study(seed, every=every)
    fmr, fnmr = resample_rates(data, 0.4)
    for place, drawn in enumerate(data.draws()):
        genuine, impostor = copied(data, drawn)
        assert fmr[place] == pytest.approx((impostor >= 0.4).mean())
        assert fnmr[place] == pytest.approx((genuine < 0.4).mean())


@pytest.mark.parametrize("every", [True, False])
@pytest.mark.parametrize("seed", range(5))
def test_the_curve_and_its_band_are_those_of_copied_comparisons(seed: int, every: bool) -> None:
    data = study(seed, every=every)
    rates = [0.5, 0.2, 0.1, 0.05, 0.0]
    points = det(data, rates)
    drawn, genuine = [copied(data, each) for each in data.draws()], len(data.pairs.genuine)
    for rate, point in zip(rates, points, strict=True):
        expected = 1 - tar_at(data.pairs.genuine, data.pairs.impostor, rate).value
        assert point.fnmr.value == pytest.approx(expected)
        assert ((data.pairs.impostor >= point.threshold).mean()) <= rate
        values = [1 - tar_at(mated, impostor, rate).value for mated, impostor in drawn]
        low, high = np.quantile(values, (0.025, 0.975))
        assert point.fnmr.ci95 is not None
        least, most = wilson(round(expected * genuine), genuine) if expected else (0.0, 3 / genuine)
        assert point.fnmr.ci95 == pytest.approx((min(low, least), max(high, most)))
        assert point.resolved == (rate * len(data.pairs.impostor) >= 30)


def test_the_band_does_not_depend_on_what_lies_below_the_curve() -> None:
    """Of many impostors only the highest are sorted: the same band as with all of them."""
    data = study(3, people=20, most=5)
    assert det(data, [0.01])[0] == det(data, [1.0, 0.01])[1]


def test_rates_at_a_threshold_count_every_comparison() -> None:
    data = study(1)
    found = rates_at(data, 0.4)
    assert found.fmr is not None
    assert found.fnmr is not None
    assert found.fmr.value == (data.pairs.impostor >= 0.4).mean()
    assert found.fnmr.value == (data.pairs.genuine < 0.4).mean()
    assert found.fmr.ci95 is not None
    assert found.fmr.ci95[0] <= found.fmr.value <= found.fmr.ci95[1]


def test_where_nothing_went_wrong_the_rule_of_three_speaks() -> None:
    data = study(1)
    found = rates_at(data, 2.0)
    impostors = len(data.pairs.impostor)
    assert found.fmr == Estimate(0.0, (0.0, 3 / impostors), impostors)


def test_two_people_give_no_narrow_interval() -> None:
    """Whoever is drawn, the one pair of people is there or not: no draw differs from another."""
    data = study(0, people=2)
    found = rates_at(data, float(np.median(data.pairs.impostor)))
    assert found.fmr is not None
    assert found.fmr.ci95 is not None
    assert found.fmr.ci95[0] < found.fmr.value < found.fmr.ci95[1]


def test_without_comparisons_of_a_kind_there_is_no_rate() -> None:
    data = study(2, most=1)
    found = rates_at(data, 0.4)
    assert found.fmr is not None
    assert found.fnmr is None
    assert det(data, [0.1]) == ()
    assert det(study(2), []) == ()


def test_one_bad_person_makes_the_interval_wide() -> None:
    """Forty misses of one person in eight are not forty independent misses."""
    owner = np.repeat(np.arange(8), 40).astype(np.int32)
    genuine = np.where(owner == 0, 0.1, 0.9)
    impostor, left, right = np.zeros(28), *(side.astype(np.int32) for side in np.triu_indices(8, 1))
    found = rates_at(Resampled(AllPairs(impostor, left, right, genuine, owner), np.full(8, 10), every=False), 0.5)
    assert found.fnmr is not None
    assert found.fnmr.ci95 is not None
    assert found.fnmr.value == 1 / 8
    assert found.fnmr.ci95[0] == 0
    assert found.fnmr.ci95[1] > 0.3
