"""Error against discard: does a measure of quality know which photographs lead to errors (Grother, Tabassi 2007)?"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray


@dataclass(frozen=True, slots=True)
class Discard:
    """What remains when the photographs of the lowest quality are left out.

    Attributes:
        share: Of the photographs, left out: at most what was wanted, since photographs of equal quality stay together.
        cut: The quality below which they are left out.
        errors: Comparisons decided wrongly among the rest.
        comparisons: Comparisons of two photographs of the rest.
    """

    share: float
    cut: float
    errors: int
    comparisons: int

    @property
    def rate(self) -> float | None:
        """The error rate of the rest."""
        return self.errors / self.comparisons if self.comparisons else None


def error_versus_discard(
    quality: NDArray[np.float64],
    first: NDArray[np.int64],
    second: NDArray[np.int64],
    wrong: NDArray[np.bool_],
    shares: Sequence[float],
) -> tuple[Discard, ...]:
    """Leave out rising shares of the photographs, those of the lowest quality first.

    Args:
        quality: Of each photograph, (N,); higher is better.
        first: The one photograph of each comparison, 0..N-1, (M,).
        second: The other, (M,).
        wrong: Whether it was decided wrongly, (M,).
        shares: To leave out, 0..1.
    """
    ranked = np.sort(quality)
    lower = np.minimum(quality[first], quality[second])
    points = []
    for share in shares:
        cut = float(ranked[min(len(ranked) - 1, int(np.floor(share * len(ranked) * (1 + 1e-12))))])
        kept = lower >= cut
        points.append(Discard(float((quality < cut).mean()), cut, int((wrong & kept).sum()), int(kept.sum())))
    return tuple(points)
