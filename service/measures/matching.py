"""When a comparison matches: the one place where scores meet a threshold."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray


def matches(scores: NDArray[np.floating], threshold: float) -> NDArray[np.bool_]:
    """Say for each of (N,) comparison scores whether it reaches the threshold. NaN never does."""
    return np.asarray(scores >= threshold)
