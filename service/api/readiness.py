"""Whether the service can answer, found out by really asking."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable

from prometheus_client import CollectorRegistry

from service.api.http.errors import NotReady
from service.errors import FacetError
from service.metrics import register_gauge

FRESH_SECONDS = 1.0


class Readiness:
    """Runs the checks, one at a time, and lets an outcome stand for a second: probes need no key.

    `quick` asks the storage, `thorough` runs the models. Both raise FacetError when something is wrong.
    """

    def __init__(self, quick: Callable[[], None], thorough: Callable[[], None]) -> None:
        self._quick = quick
        self._thorough = thorough
        self._lock = asyncio.Lock()
        self._fresh_until = float("-inf")
        self._fault: FacetError | None = None
        self._models_answer = True

    def register(self, registry: CollectorRegistry) -> None:
        """Register a gauge of whether the service can answer."""
        register_gauge(registry, "facet_ready", "1 when the service can answer.", lambda: float(self.is_ready()))

    async def probe(self) -> None:
        """Do nothing while the service can answer.

        Raises:
            NotReady: something is wrong.
        """
        async with self._lock:
            if time.monotonic() >= self._fresh_until:
                self._fault = await asyncio.to_thread(self._find_fault)
                self._fresh_until = time.monotonic() + FRESH_SECONDS
            if self._fault is not None:
                raise NotReady(f"the service cannot answer: {self._fault.code}") from self._fault

    def is_ready(self) -> bool:
        """Say whether the storage answers now, and the models did when they were last asked."""
        try:
            self._quick()
        except FacetError:
            return False
        return self._models_answer

    def _find_fault(self) -> FacetError | None:
        try:
            self._check()
        except FacetError as error:
            return error
        return None

    def _check(self) -> None:
        self._quick()
        try:
            self._thorough()
        except FacetError:
            self._models_answer = False
            raise
        self._models_answer = True
