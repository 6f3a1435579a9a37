"""How fast a run goes, and how long it waits for data."""

from __future__ import annotations

import time
from collections.abc import Iterable, Iterator
from typing import TypeVar

T = TypeVar("T")


class Meter:
    """Images per second, and per second of this process's own, and the share of time the loop waited for data."""

    def __init__(self, batch: int) -> None:
        self._batch = batch
        self._began = time.perf_counter()
        self._first = self._first_worked = 0.0
        self._waited = 0.0
        self._count = 0
        self._last: dict[str, float] = {}

    def watch(self, source: Iterable[T]) -> Iterator[T]:
        """Yield from `source`, timing every wait but the first, which fills the queue."""
        iterator = iter(source)
        while True:
            began = time.perf_counter()
            try:
                item = next(iterator)
            except StopIteration:
                return
            now = time.perf_counter()
            if self._count:
                self._waited += now - began
            else:
                self._first, self._first_worked = now, time.process_time()
            self._count += 1
            yield item

    def report(self, values: dict[str, float]) -> dict[str, float]:
        """The latest losses, their sum, and the speed so far."""
        spent = max(1e-9, time.perf_counter() - self._first)
        worked = max(1e-9, time.process_time() - self._first_worked)
        self._last = {
            **values,
            "loss": sum(values.values()),
            "images_per_second": self._batch * self._count / spent,
            "images_per_cpu_second": self._batch * self._count / worked,
            "data_wait": self._waited / spent,
        }
        return self._last

    def summary(self) -> dict[str, float]:
        """What `fit.json` records."""
        return {**self._last, "seconds": time.perf_counter() - self._began}
