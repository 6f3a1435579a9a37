"""How often one caller may ask."""

from __future__ import annotations

import math
import time

from limits import RateLimitItem
from limits.storage import MemoryStorage
from limits.strategies import SlidingWindowCounterRateLimiter

from service.api.http.errors import RateLimited


class RateLimit:
    """A rate for each caller, over a sliding window, in memory. None limits nobody."""

    def __init__(self, rate: RateLimitItem | None) -> None:
        self._rate = rate
        self._limiter = SlidingWindowCounterRateLimiter(MemoryStorage())

    def spend(self, caller: str) -> None:
        """Count one request of `caller`. Raises: RateLimited."""
        if self._rate is None or self._limiter.hit(self._rate, caller):
            return
        reset = self._limiter.get_window_stats(self._rate, caller).reset_time
        raise RateLimited(
            f"this caller may make {self._rate.amount} requests in {self._rate.get_expiry()} s; wait for Retry-After",
            retry_after=max(1, math.ceil(reset - time.time())),
        )
