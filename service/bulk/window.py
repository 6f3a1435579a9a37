"""Work on several things at once, with a bounded number begun, and results in the order of the things."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from typing import TypeVar

T = TypeVar("T")
R = TypeVar("R")
AHEAD = 4
"""Things begun for each thread: one that takes long does not make the others wait."""


def run_in_window(work: Callable[[T], R], things: Iterable[T], parallel: int) -> Iterator[R]:
    """Do `work` on each thing, `parallel` at once, and yield the results in the order of the things.

    When one fails, or the caller stops, what was begun is finished, and nothing more is begun.
    """
    begun: deque[Future[R]] = deque()
    with ThreadPoolExecutor(parallel) as pool:
        try:
            for thing in things:
                begun.append(pool.submit(work, thing))
                if len(begun) >= AHEAD * parallel:
                    yield begun.popleft().result()
            while begun:
                yield begun.popleft().result()
        finally:
            pool.shutdown(wait=True, cancel_futures=True)
