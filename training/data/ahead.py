"""Work done ahead on threads: a bounded number is begun, and results come in the order of the things."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from typing import TypeVar

T = TypeVar("T")
R = TypeVar("R")


def work_ahead(work: Callable[[T], R], things: Iterable[T], workers: int, name: str, depth: int = 2) -> Iterator[R]:
    """Do `work` on each thing on so many threads of that name, with up to `depth` things for each of them begun.

    When one fails, or the caller stops, what is being done is finished, and what waits is dropped.
    """
    waiting: deque[Future[R]] = deque()
    pool = ThreadPoolExecutor(workers, thread_name_prefix=name)
    try:
        for thing in things:
            waiting.append(pool.submit(work, thing))
            if len(waiting) > depth * workers:
                yield waiting.popleft().result()
        while waiting:
            yield waiting.popleft().result()
    finally:
        pool.shutdown(wait=True, cancel_futures=True)
