"""One bounded executor for everything that decodes images or runs models.

Admission is decided at once: a request is either refused with a time to come back, or admitted and then ends
exactly once, as a result, an error or a cancellation. Work that nobody waits for any more is dropped from the
queue; work already running is told so by the function it was given, and stops at its next stage.
"""

from __future__ import annotations

import asyncio
import math
import threading
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Generic, TypeVar

from prometheus_client import CollectorRegistry

from service.errors import FacetError
from service.metrics import register_gauge
from service.timing import Abandoned

T = TypeVar("T")

LONGEST_RETRY = 30
SMOOTHING = 0.1  # weight of the newest duration in the moving average


class Overloaded(FacetError):
    """The queue is full; `retry_after` is the whole seconds after which it has likely drained."""

    code = "overloaded"

    def __init__(self, message: str, retry_after: int = 1) -> None:
        super().__init__(message)
        self.retry_after = retry_after


class Stopping(Overloaded):
    """The service is shutting down and admits nothing more."""

    code = "stopping"


@dataclass(frozen=True, slots=True)
class Load:
    """How busy the executor is: jobs waiting, jobs running, worker threads, and how many may wait."""

    queued: int
    running: int
    workers: int
    queue_limit: int


@dataclass(slots=True)
class _Job(Generic[T]):
    """One admitted piece of work; `work` is let go as soon as the job has ended or been dropped."""

    work: Callable[[Callable[[], bool]], T] | None
    abandoned: threading.Event


class Executor:
    """A fixed number of worker threads behind a queue of bounded length."""

    def __init__(self, workers: int, queue_limit: int) -> None:
        self._workers = workers
        self._queue_limit = queue_limit
        self._pool = ThreadPoolExecutor(workers, thread_name_prefix="facet-worker")
        self._lock = threading.Lock()
        self._admitted = 0
        self._running = 0
        self._mean_seconds = 0.05
        self._closed = False

    def load(self) -> Load:
        """How busy the executor is at this moment."""
        with self._lock:
            return Load(self._admitted - self._running, self._running, self._workers, self._queue_limit)

    def register(self, registry: CollectorRegistry) -> None:
        """Register gauges of the load."""
        register_gauge(registry, "facet_queue_depth", "Requests waiting for a worker.", lambda: self.load().queued)
        register_gauge(registry, "facet_in_flight", "Requests on a worker.", lambda: self.load().running)
        register_gauge(registry, "facet_workers", "Worker threads.", lambda: self._workers)
        register_gauge(registry, "facet_queue_limit", "Requests that may wait.", lambda: self._queue_limit)

    def is_occupied(self) -> bool:
        """Whether every worker has a request, so that one more thread of work would take from them."""
        load = self.load()
        return load.queued > 0 or load.running >= load.workers

    def check(self) -> None:
        """Refuse early, before a body is read. Raises: Overloaded, Stopping."""
        with self._lock:
            self._refuse_if_full()

    async def run(self, work: Callable[[Callable[[], bool]], T]) -> T:
        """Run `work(cancelled)` on a worker thread and await its result.

        Cancelling the awaiting task drops the work when it has not started, and otherwise makes `cancelled()`
        true for it; its place is given back when it really ends.

        Raises: Overloaded, Stopping, and whatever `work` raises.
        """
        with self._lock:
            self._refuse_if_full()
            self._admitted += 1
        job = _Job(work, threading.Event())
        try:
            future = self._pool.submit(self._perform, job)
        except BaseException:
            self._leave()
            raise
        future.add_done_callback(lambda _: self._release(job))
        try:
            return await asyncio.wrap_future(future)
        except asyncio.CancelledError:
            job.abandoned.set()
            raise

    def close(self) -> None:
        """Admit nothing more and wait until everything admitted has ended."""
        with self._lock:
            self._closed = True
        self._pool.shutdown(wait=True)

    def _perform(self, job: _Job[T]) -> T:
        if job.work is None:
            raise Abandoned("the client went away")
        with self._lock:
            self._running += 1
        begun = time.perf_counter()
        try:
            return job.work(job.abandoned.is_set)
        finally:
            with self._lock:
                self._running -= 1
                self._mean_seconds += SMOOTHING * (time.perf_counter() - begun - self._mean_seconds)

    def _release(self, job: _Job[T]) -> None:
        job.work = None  # a dropped job stays in the pool's own queue for a while; its images must not
        self._leave()

    def _leave(self) -> None:
        with self._lock:
            self._admitted -= 1

    def _refuse_if_full(self) -> None:
        if self._closed:
            raise Stopping("the service is shutting down", retry_after=LONGEST_RETRY)
        if self._admitted >= self._workers + self._queue_limit:
            seconds = self._admitted * self._mean_seconds / self._workers
            raise Overloaded(
                f"{self._admitted} requests are being served or waiting, which is the limit",
                retry_after=min(LONGEST_RETRY, max(1, math.ceil(seconds))),
            )
