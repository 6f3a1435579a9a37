"""Whether the service can answer, found out by really asking."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable

from service.api.errors import NotReady
from service.errors import FacetError

FRESH_SECONDS = 1.0


class Readiness:
    """Runs a real check, one at a time, and lets its good outcome stand for a second: probes need no key."""

    def __init__(self, check: Callable[[], None]) -> None:
        self._check = check
        self._lock = asyncio.Lock()
        self._good_until = float("-inf")

    async def probe(self) -> None:
        """Raises: NotReady."""
        async with self._lock:
            if time.monotonic() < self._good_until:
                return
            try:
                await asyncio.to_thread(self._check)
            except FacetError as error:
                raise NotReady(f"the service cannot answer: {error.code}") from error
            self._good_until = time.monotonic() + FRESH_SECONDS
