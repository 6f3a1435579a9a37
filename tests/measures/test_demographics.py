"""How unequal rates are, by hand and by the definition."""

from __future__ import annotations

import math

import numpy as np
import pytest
from numpy.typing import NDArray
from scipy.stats import gmean

from service.measures.demographics import compare_groups, gini, worst_over_geometric_mean


def draw(seed: int) -> NDArray[np.float64]:
    """Two to twelve rates, spread over six decades."""
    rng = np.random.default_rng(seed)
    return 10 ** rng.uniform(-6, 0, rng.integers(2, 13))


@pytest.mark.parametrize("seed", range(30))
def test_gini_is_the_mean_difference_over_twice_the_mean(seed: int) -> None:
    """Of two different groups drawn at random: with the correction n / (n - 1), pairs of one group are left out."""
    rates = draw(seed)
    differences = [abs(a - b) for i, a in enumerate(rates) for j, b in enumerate(rates) if i != j]
    assert gini(rates) == pytest.approx(np.mean(differences) / (2 * np.mean(rates)))
    assert 0 <= gini(rates) <= 1 + 1e-12


def test_gini_at_its_ends() -> None:
    assert gini([0.2, 0.2, 0.2]) == 0
    assert gini([0.3, 0.0, 0.0, 0.0]) == pytest.approx(1)
    assert gini([0.0, 0.0]) == 0
    assert math.isnan(gini([0.1]))


@pytest.mark.parametrize("seed", range(30))
def test_the_worst_rate_over_the_geometric_mean(seed: int) -> None:
    rates = draw(seed)
    found = worst_over_geometric_mean(rates.tolist(), [10**9] * len(rates))
    assert found == pytest.approx(max(rates) / gmean(rates))


def test_a_group_without_an_error_counts_as_half_of_one() -> None:
    assert worst_over_geometric_mean([0.02, 0.0], [1000, 100]) == pytest.approx(0.02 / math.sqrt(0.02 * 0.005))
    assert math.isnan(worst_over_geometric_mean([], []))


def test_a_group_of_few_trials_and_no_error_is_not_the_worst() -> None:
    assert worst_over_geometric_mean([0.004, 0.001, 0.0], [1000, 1000, 10]) == pytest.approx(4 ** (1 / 3))
    assert worst_over_geometric_mean([0.0, 0.0], [1000, 10]) == 1, "nothing was observed"


def test_the_worst_group_is_named() -> None:
    found = compare_groups(["a", "b", "c"], [0.01, 0.04, 0.01], [1000] * 3)
    assert found is not None
    assert (found.worst, found.groups) == ("b", 3)
    assert found.over_geometric_mean == pytest.approx(0.04 / (0.01 * 0.01 * 0.04) ** (1 / 3))
    assert compare_groups(["a"], [0.01], [10]) is None
    assert compare_groups(["a", "b"], [0.0, 0.0], [10, 20]) is None, "nothing to compare"
