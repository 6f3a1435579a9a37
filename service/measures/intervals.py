"""How sure a measured proportion is."""

from __future__ import annotations

import math
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Estimate:
    """A measured number, its 95 % interval where one is known, and the trials behind it."""

    value: float
    ci95: tuple[float, float] | None
    trials: int

    @classmethod
    def of_share(cls, successes: int, trials: int) -> Estimate:
        """Estimate a proportion, with its Wilson interval."""
        return cls(successes / trials, wilson(successes, trials), trials)


def wilson(successes: int, trials: int, z: float = 1.959963984540054) -> tuple[float, float]:
    """Compute the Wilson score interval of a proportion (Wilson 1927), 95 % by default.

    Raises:
        ValueError: `trials` is not positive, or `successes` is outside 0..trials.
    """
    if trials <= 0 or not 0 <= successes <= trials:
        raise ValueError("trials must be positive and successes within 0..trials")
    share, spread = successes / trials, z * z / trials
    centre = (share + spread / 2) / (1 + spread)
    half = z / (1 + spread) * math.sqrt(share * (1 - share) / trials + spread / (4 * trials))
    return max(0.0, centre - half), min(1.0, centre + half)
