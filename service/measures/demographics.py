"""How unequal an error rate is among groups of people (ISO/IEC 19795-10; NISTIR 8429).

Two figures, each 1 or 0 where all groups fare alike: the worst rate over the geometric mean of all, and the Gini
coefficient with the correction for few groups (Howard et al., "Evaluating Proposed Fairness Models for Face Recognition
Algorithms", 2022).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray


@dataclass(frozen=True, slots=True)
class Inequality:
    """Of one rate among groups: the worst group, its rate over the geometric mean of all, the Gini coefficient."""

    worst: str
    over_geometric_mean: float
    gini: float
    groups: int


def gini(rates: Sequence[float] | NDArray[np.float64]) -> float:
    """Compute the Gini coefficient of n rates, times n / (n - 1): 0 where all are equal, 1 where one group has it all.

    NaN of fewer than two.
    """
    values = np.asarray(rates, np.float64)
    count = len(values)
    if count < 2:
        return float("nan")
    if values.sum() == 0:
        return 0.0
    differences = np.abs(values[:, None] - values[None, :]).sum()
    return float(count / (count - 1) * differences / (2 * count**2 * values.mean()))


def worst_over_geometric_mean(rates: Sequence[float], trials: Sequence[int]) -> float:
    """Compute the highest rate over the geometric mean of all; nothing observed counts as half an error.

    Half an error of few trials is no rate that was observed, so it counts no more than the highest that was. 1 where
    nothing was observed of any; NaN where there are none.
    """
    if not len(rates):
        return float("nan")
    highest = max(rates)
    least = np.minimum(0.5 / np.maximum(1, np.asarray(trials)), highest)
    return float(highest / np.exp(np.log(np.maximum(rates, least)).mean())) if highest > 0 else 1.0


def compare_groups(names: Sequence[str], rates: Sequence[float], trials: Sequence[int]) -> Inequality | None:
    """Say how unequal a rate is among groups; None of fewer than two, or where no group has an error."""
    if len(names) < 2 or not any(rates):
        return None
    worst = names[int(np.argmax(rates))]
    return Inequality(worst, worst_over_geometric_mean(rates, trials), gini(rates), len(names))
