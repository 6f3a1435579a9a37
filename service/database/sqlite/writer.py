"""The one thread that writes: jobs that wait together are committed together, with one fsync.

A job runs inside a savepoint of the common transaction, so that a job that fails leaves no trace and does not disturb
its neighbours; one without neighbours needs none. Callers return only after the commit is durable and its changes are
applied to the indexes.
"""

from __future__ import annotations

import logging
import threading
import time
from collections import deque
from collections.abc import Callable, Sequence
from concurrent.futures import Future
from dataclasses import dataclass
from functools import partial
from typing import Any, Generic, TypeVar

import sqlalchemy as sa

from service.database.errors import StorageBusy, StorageError, StorageUnavailable
from service.database.transaction import Transaction, is_fatal, storage_error

log = logging.getLogger(__name__)
T = TypeVar("T")
E = TypeVar("E")


@dataclass(slots=True)
class _Job(Generic[E]):
    work: Callable[[Transaction[E]], Any]
    future: Future[Any] | None
    born: float

    def finish(self, result: Any, problem: Exception | None) -> None:
        """Answer whoever waits."""
        if self.future is None:
            if problem is not None:
                log.warning("deferred work was lost: %s", problem)
        elif problem is not None:
            self.future.set_exception(problem)
        else:
            self.future.set_result(result)


class Writer(Generic[E]):
    """Serialises all changes of one store."""

    def __init__(
        self,
        engine: sa.Engine,
        apply: Callable[[Sequence[E]], None],
        *,
        queue: int = 1024,
        batch: int = 256,
        patience: float = 0.25,
    ) -> None:
        """Start the thread.

        Args:
            engine: Its connections honour the execution option `immediate`.
            apply: Brings committed changes to the indexes; called before the callers return.
            queue: Jobs that may wait; one more is refused with StorageBusy.
            batch: Jobs in one commit at most. More gives throughput, fewer a shorter wait of the first of them.
            patience: Seconds that deferred work may wait for a commit to travel with.
        """
        self._engine = engine
        self._apply = apply
        self._queue, self._batch, self._patience = queue, batch, patience
        self._jobs: deque[_Job[E]] = deque()
        self._deferred: deque[_Job[E]] = deque()
        self._ready = threading.Condition()
        self._committing = threading.Lock()
        self._closing = False
        self._broken: Exception | None = None
        self.failure: StorageError | None = None
        """What the last commit failed with, None when it succeeded."""
        self._thread = threading.Thread(target=self._run, name="gallery-writer", daemon=True)
        self._thread.start()

    def submit(self, work: Callable[[Transaction[E]], T]) -> T:
        """Run `work` in its turn and return its result once it is durable and visible.

        Raises:
            StorageBusy: Too many jobs wait.
            StorageError: The store failed. Whatever `work` raises.
        """
        return self.begin(work).result()

    def begin(self, work: Callable[[Transaction[E]], T]) -> Future[T]:
        """Run `work` in its turn; the future ends as `submit` would, on the writer's thread.

        Raises:
            StorageBusy: Too many jobs wait.
            StorageError: The store has stopped.
        """
        future: Future[T] = Future()
        with self._ready:
            self._check()
            if len(self._jobs) >= self._queue:
                raise StorageBusy
            self._jobs.append(_Job(work, future, time.monotonic()))
            self._ready.notify()
        return future

    def defer(self, work: Callable[[Transaction[E]], Any]) -> None:
        """Run `work` with one of the next commits, without waiting for it. Its failure is logged.

        Raises:
            StorageBusy: So much deferred work waits that the store must have failed.
        """
        with self._ready:
            self._check()
            if len(self._deferred) >= 16 * self._queue:
                raise StorageBusy
            self._deferred.append(_Job(work, None, time.monotonic()))
            if len(self._deferred) == 1:  # the writer already counts the time of an earlier one
                self._ready.notify()

    def await_commit(self, seconds: float) -> None:
        """Wait until the commit under way is applied to the indexes, if there is one, but only for so many seconds."""
        if self._committing.acquire(timeout=seconds):
            self._committing.release()

    @property
    def waiting(self) -> int:
        """Jobs in the queue."""
        return len(self._jobs)

    def check(self) -> None:
        """Check that the writer goes on.

        Raises:
            StorageUnavailable: It has stopped.
        """
        with self._ready:
            self._check()

    def close(self) -> None:
        """Finish what waits, then stop."""
        with self._ready:
            self._closing = True
            self._ready.notify()
        self._thread.join()

    def _check(self) -> None:
        if self._broken is not None:
            raise StorageUnavailable(
                f"The gallery stopped writing after an internal failure ({self._broken}): restart it."
            )
        if self._closing:
            raise StorageUnavailable("The gallery is closing: try again after the restart.")

    def _run(self) -> None:
        while (jobs := self._take()) is not None:
            try:
                with self._committing:
                    self._commit(jobs)
            except Exception as error:  # database and index may disagree now: stop rather than serve a difference
                log.exception("the gallery's writer stopped")
                with self._ready:
                    self._broken = error
                    jobs += self._jobs
                    self._jobs.clear()
                failure = StorageUnavailable(f"The gallery's writer failed ({error}): restart the service.")
                for job in jobs:
                    if job.future is not None and not job.future.done():
                        job.future.set_exception(failure)
                return

    def _take(self) -> list[_Job[E]] | None:
        """The next jobs to commit together; None when all is done and the writer is closing."""
        with self._ready:
            while not self._jobs and not self._closing:
                if not self._deferred:
                    self._ready.wait()
                elif (left := self._deferred[0].born + self._patience - time.monotonic()) > 0:
                    self._ready.wait(left)
                else:
                    break
            if not self._jobs and not self._deferred:
                return None
            taken = [self._deferred.popleft() for _ in range(min(len(self._deferred), 4 * self._batch))]
            taken += [self._jobs.popleft() for _ in range(min(len(self._jobs), self._batch))]
            return taken

    def _commit(self, jobs: list[_Job[E]]) -> None:
        changes: list[E] = []
        try:
            with self._engine.connect().execution_options(immediate=True) as connection, connection.begin() as whole:
                if len(jobs) == 1:
                    outcomes = [self._perform(jobs[0], connection, changes, whole.rollback)]
                else:
                    outcomes = [self._perform_beside(job, connection, changes) for job in jobs]
        except (sa.exc.SQLAlchemyError, OSError) as error:
            failure = storage_error(error)
            if len(jobs) > 1 and not isinstance(failure, StorageBusy):
                for job in jobs:  # the disk may be full for one job and not for the next: each gets a try of its own
                    self._commit([job])
                return
            changes, outcomes = [], [(None, failure)] * len(jobs)
            self.failure = failure
        else:
            self.failure = None
        if changes:
            self._apply(changes)
        for job, (result, problem) in zip(jobs, outcomes, strict=True):
            job.finish(result, problem)

    def _perform_beside(
        self, job: _Job[E], connection: sa.Connection, changes: list[E]
    ) -> tuple[Any, Exception | None]:
        """Run one job of several, in its savepoint."""
        # By hand: the toolkit's own savepoints cost as much as an insertion.
        connection.exec_driver_sql("SAVEPOINT job")
        undo = partial(connection.exec_driver_sql, "ROLLBACK TO SAVEPOINT job")
        outcome = self._perform(job, connection, changes, undo)
        connection.exec_driver_sql("RELEASE SAVEPOINT job")
        return outcome

    def _perform(
        self, job: _Job[E], connection: sa.Connection, changes: list[E], undo: Callable[[], object]
    ) -> tuple[Any, Exception | None]:
        """Run one job; its changes join `changes` if it succeeds, and `undo` takes back what it wrote if not."""
        transaction = Transaction(connection, tuple(changes))
        try:
            result = job.work(transaction)
        except Exception as error:
            if isinstance(error, sa.exc.DBAPIError) and is_fatal(error):
                raise
            undo()
            return None, error
        changes += transaction.changes
        return result, None
