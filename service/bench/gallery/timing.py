"""Times of calls, and what stands at a share of them."""

from __future__ import annotations

import time
from collections.abc import Callable

import numpy as np


def timed(taken: list[float], call: Callable[..., object], *arguments: object) -> None:
    """Append the milliseconds of one call."""
    started = time.perf_counter()
    call(*arguments)
    taken.append(1000 * (time.perf_counter() - started))


def quantile(values: list[float], share: float) -> float:
    """The value below which a share of `values` lies; NaN where there are none."""
    return float(np.quantile(values, share)) if values else float("nan")
