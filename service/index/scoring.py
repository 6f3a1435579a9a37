"""How cosines become scores."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from service.index.base import Matrix

Offsets = Callable[[Matrix], NDArray[np.float32]]
"""What is added to the scores of unit vectors (N, D): (N,), none above zero."""


@dataclass(frozen=True, slots=True)
class Scoring:
    """A normalised score: the cosine, with the probes' own offsets (Q,) and those of stored vectors.

    Subjects below `least` may be missing from a search's answer, never those above.
    """

    own: NDArray[np.float32]
    offsets: Offsets
    least: float = -math.inf
