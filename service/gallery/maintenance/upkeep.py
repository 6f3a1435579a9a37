"""What must happen by itself now and then: at the start, and every few minutes beside requests."""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable, Sequence

from service.errors import FacetError

log = logging.getLogger(__name__)
EVERY_SECONDS = 600.0


class Upkeep:
    """One thread that runs tasks, one after another; a task that fails is tried again the next time."""

    def __init__(self, tasks: Sequence[Callable[[], object]], every: float = EVERY_SECONDS) -> None:
        """Run every task now, and begin to repeat them after so many seconds."""
        self._tasks, self._every = tuple(tasks), every
        self._closing = threading.Event()
        self._run_all()
        self._thread = threading.Thread(target=self._run, name="facet-upkeep", daemon=True)
        self._thread.start()

    def close(self) -> None:
        """Finish the task at hand."""
        self._closing.set()
        self._thread.join()

    def _run(self) -> None:
        while not self._closing.wait(self._every):
            self._run_all()

    def _run_all(self) -> None:
        for task in self._tasks:
            try:
                task()
            except FacetError as error:
                log.warning("upkeep waits: %s", error)
            except Exception:
                log.exception("upkeep failed")
