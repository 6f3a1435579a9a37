"""A fixed amount of something, shared fairly by whoever comes."""

from __future__ import annotations

import threading
from collections import Counter


class Shares:
    """An amount that holders take from and give back. Thread-safe.

    A holder may come to have as much as was still free, and `base` besides: one alone gets about half, two a third
    each, and so on, and something is always left for one more. Nobody's share has to be configured, and nobody who
    comes late waits for those who came early.
    """

    def __init__(self, total: int, base: int = 0) -> None:
        self.total = total
        self._base = base
        self._held: Counter[str] = Counter()
        self._taken = 0
        self._lock = threading.Lock()

    @property
    def taken(self) -> int:
        """How much all holders have."""
        return self._taken

    def take(self, holder: str, amount: int = 1, *, fair: bool = True) -> bool:
        """Take an amount, or nothing and return False. Without `fair` only the total bounds it."""
        with self._lock:
            if not self._fits(holder, amount, fair):
                return False
            self._held[holder] += amount
            self._taken += amount
            return True

    def fits(self, holder: str, amount: int = 1) -> bool:
        """Whether `take` would succeed at this moment."""
        with self._lock:
            return self._fits(holder, amount, fair=True)

    def give(self, holder: str, amount: int = 1) -> None:
        """Give back what was taken."""
        with self._lock:
            self._taken -= amount
            self._held[holder] -= amount
            if self._held[holder] <= 0:
                del self._held[holder]

    def _fits(self, holder: str, amount: int, fair: bool) -> bool:
        free = self.total - self._taken
        return amount <= free and (not fair or self._held[holder] + amount <= self._base + free)
