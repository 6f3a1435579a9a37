"""A stopwatch that names the stages of a request, and the point where abandoned work stops."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext

from service.errors import FacetError


class Abandoned(FacetError):
    """Nobody waits for this result any more."""

    code = "abandoned"


def never() -> bool:
    """The `cancelled` of work that cannot be abandoned."""
    return False


def nothing() -> None:
    """The `rest` of work that nobody queues for."""


def untold(_: str) -> AbstractContextManager[object]:
    """The `part` of work that is in no trace."""
    return nullcontext()


class Stages:
    """Seconds spent per stage; entering a stage first asks whether the work is still wanted."""

    def __init__(
        self,
        cancelled: Callable[[], bool] = never,
        rest: Callable[[], None] = nothing,
        part: Callable[[str], AbstractContextManager[object]] = untold,
    ) -> None:
        """Take how to ask whether the work is cancelled, to give its worker's place away, and to tell of a stage."""
        self.seconds: dict[str, float] = {}
        self._cancelled, self._part = cancelled, part
        self.rest = rest
        """To be called when what is left is waiting for the disk: others may use the core."""

    @contextmanager
    def stage(self, name: str) -> Iterator[None]:
        """Time one stage; the time of stages of one name adds up. Raises: Abandoned."""
        if self._cancelled():
            raise Abandoned("the client went away")
        begun = time.perf_counter()
        try:
            with self._part(name):
                yield
        finally:
            self.seconds[name] = self.seconds.get(name, 0.0) + time.perf_counter() - begun
