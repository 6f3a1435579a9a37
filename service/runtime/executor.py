"""One bounded executor for everything that decodes images or runs models.

Admission is decided at once: a request is either refused with a time to come back, or admitted and then ends
exactly once, as a result, an error or a cancellation. Work that nobody waits for any more is dropped from the
queue; work already running is told so by the function it was given, and stops at its next stage. Callers share
places and workers: each may have as many places as are still free, and workers take from the callers in turn.
A job that has only the disk to wait for says so, and another one starts on its core; or it leaves its result behind
with what has to end first, and its thread goes on with the next job.
"""

from __future__ import annotations

import asyncio
import math
import threading
import time
from collections import deque
from collections.abc import Callable, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, field
from typing import Any, Generic, TypeVar

from prometheus_client import CollectorRegistry

from service.errors import FacetError
from service.metrics import register_gauge
from service.runtime.shares import Shares
from service.runtime.timing import Abandoned

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
    """How busy the executor is: jobs waiting, jobs running or resting, workers, and how many jobs may wait."""

    queued: int
    running: int
    resting: int
    workers: int
    queue_limit: int


@dataclass(slots=True, eq=False)
class _Job(Generic[T]):
    """One admitted piece of work; `work` is let go as soon as the job has ended or been dropped."""

    caller: str
    work: Callable[[Turn], T | Unsettled[T]] | None
    abandoned: threading.Event = field(default_factory=threading.Event)
    future: Future[T] = field(default_factory=Future)
    resting: bool = False


@dataclass(frozen=True, slots=True)
class Turn:
    """What work is given while it runs: called, it says whether nobody waits for the result any more."""

    is_abandoned: Callable[[], bool]
    rest: Callable[[], None]
    """Gives the core to the next job, for good: what is left is waiting, for the disk say."""

    def __call__(self) -> bool:
        """Whether the work has been abandoned."""
        return self.is_abandoned()


@dataclass(frozen=True, slots=True)
class Unsettled(Generic[T]):
    """A result that may be given once all `waits` have ended well: for the disk say. No thread waits with it."""

    result: T
    waits: Sequence[Future[Any]]


class Executor:
    """A fixed number of jobs at once behind a queue of bounded length, in which callers take turns.

    A thread that has a core keeps it from job to job: waking another one for each would cost a turn at the interpreter.
    There are twice as many threads as workers, since a job that rests needs one too.
    """

    def __init__(self, workers: int, queue_limit: int) -> None:
        self._workers = workers
        self._queue_limit = queue_limit
        self._pool = ThreadPoolExecutor(2 * workers, thread_name_prefix="facet-worker")
        self._lock = threading.Lock()
        self._quiet = threading.Condition(self._lock)
        self._free = workers  # cores that no thread has
        self._shares = Shares(workers + queue_limit, base=workers)
        self._waiting: dict[str, deque[_Job[Any]]] = {}  # the caller whose turn is next comes first
        self._running = self._resting = 0
        self._mean_seconds = 0.05
        self._closed = False

    def load(self) -> Load:
        """How busy the executor is at this moment."""
        with self._lock:
            queued = self._shares.taken - self._running - self._resting
            return Load(queued, self._running, self._resting, self._workers, self._queue_limit)

    def register(self, registry: CollectorRegistry) -> None:
        """Register gauges of the load."""
        register_gauge(registry, "facet_queue_depth", "Requests waiting for a worker.", lambda: self.load().queued)
        register_gauge(registry, "facet_in_flight", "Requests begun.", self._count_begun)
        register_gauge(registry, "facet_workers", "Requests that are worked on at once.", lambda: self._workers)
        register_gauge(registry, "facet_queue_limit", "Requests that may wait.", lambda: self._queue_limit)

    def is_occupied(self) -> bool:
        """Whether every worker has a request, so that one more thread of work would take from them."""
        load = self.load()
        return load.queued > 0 or load.running >= load.workers

    def check(self, caller: str = "") -> None:
        """Refuse early, before a body is read. Raises: Overloaded, Stopping."""
        with self._lock:
            self._refuse_if(not self._shares.fits(caller))

    async def run(self, work: Callable[[Turn], T | Unsettled[T]], caller: str = "") -> T:
        """Run `work(turn)` on a worker thread and await its result. `caller` is whose place and turn it takes.

        Cancelling the awaiting task drops the work when it has not started, and otherwise makes `turn()` true for it;
        its place is given back when it really ends.

        Raises: Overloaded, Stopping, and whatever `work` raises.
        """
        job: _Job[T] = _Job(caller, work)
        with self._lock:
            self._refuse_if(self._closed or not self._shares.take(caller))
            self._waiting.setdefault(caller, deque()).append(job)
            self._give_core()
        job.future.add_done_callback(lambda _: self._release(job))
        try:
            return await asyncio.wrap_future(job.future)
        except asyncio.CancelledError:
            job.abandoned.set()
            raise

    def close(self) -> None:
        """Admit nothing more and wait until everything admitted has ended."""
        with self._lock:
            self._closed = True
            self._quiet.wait_for(lambda: not (self._waiting or self._running or self._resting))
        self._pool.shutdown(wait=True)

    def _give_core(self) -> None:
        """Let a thread begin where a core is free and a job waits; with the lock."""
        if self._free and self._waiting:
            self._free -= 1
            self._pool.submit(self._work)

    def _work(self) -> None:
        """Perform one job after another on this thread's core, until none waits or one has given the core away."""
        while (job := self._next()) is not None:
            if not self._perform(job):
                return

    def _next(self) -> _Job[Any] | None:
        """The next caller's oldest job; that caller's next turn comes after everybody else's. None frees the core."""
        with self._lock:
            while self._waiting:
                caller = next(iter(self._waiting))
                jobs = self._waiting.pop(caller)
                job = jobs.popleft()
                if jobs:
                    self._waiting[caller] = jobs
                if job.future.set_running_or_notify_cancel():
                    self._running += 1
                    return job
            self._free += 1
            self._quiet.notify_all()
            return None

    def _perform(self, job: _Job[Any]) -> bool:
        """Perform a job; returns whether this thread still has its core."""
        begun = time.perf_counter()
        try:
            if job.work is None:
                raise Abandoned("the client went away")
            result = job.work(Turn(job.abandoned.is_set, lambda: self._rest(job)))
        except BaseException as error:
            has_core = not job.resting
            self._end(job, begun)
            job.future.set_exception(error)
            return has_core
        has_core = not job.resting
        if isinstance(result, Unsettled):
            with self._lock:
                self._count_resting(job)
            self._settle(job, begun, result)
        else:
            self._end(job, begun)
            job.future.set_result(result)
        return has_core

    def _settle(self, job: _Job[Any], begun: float, left: Unsettled[Any]) -> None:
        """End a job as soon as all that it waits for has ended, or one of it badly; on the thread that ends it."""
        for wait in left.waits:
            if not wait.done():
                wait.add_done_callback(lambda _: self._settle(job, begun, left))
                return
            if (error := wait.exception()) is not None:
                self._end(job, begun)
                job.future.set_exception(error)
                return
        self._end(job, begun)
        job.future.set_result(left.result)

    def _rest(self, job: _Job[Any]) -> None:
        with self._lock:
            if self._count_resting(job):
                self._free += 1
                self._give_core()

    def _count_resting(self, job: _Job[Any]) -> bool:
        """Count a job as resting, with the lock; returns False where it is counted already."""
        if job.resting:
            return False
        job.resting = True
        self._running -= 1
        self._resting += 1
        return True

    def _count_begun(self) -> int:
        load = self.load()
        return load.running + load.resting

    def _end(self, job: _Job[Any], begun: float) -> None:
        with self._lock:
            if job.resting:
                self._resting -= 1
            else:
                self._running -= 1
            self._mean_seconds += SMOOTHING * (time.perf_counter() - begun - self._mean_seconds)
            self._quiet.notify_all()

    def _release(self, job: _Job[Any]) -> None:
        job.work = None
        self._shares.give(job.caller)

    def _refuse_if(self, full: bool) -> None:
        if self._closed:
            raise Stopping("the service is shutting down", retry_after=LONGEST_RETRY)
        if full:
            admitted = self._shares.taken
            seconds = admitted * self._mean_seconds / self._workers
            raise Overloaded(
                f"{admitted} requests are being served or waiting: that is the limit, or this key has its share of it",
                retry_after=min(LONGEST_RETRY, max(1, math.ceil(seconds))),
            )
