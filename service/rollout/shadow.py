"""The challenger decides a share of live requests too: after their answers, in one thread of low priority.

It may cost nothing that a caller could notice. The queue is short and what does not fit is dropped; the thread embeds
only while a worker is free, a few faces at a time, and rests after each case until its share of one core's time is
kept. It runs at a lower priority than the workers, yet not the lowest: a thread that holds the interpreter's lock and
is never scheduled would hold up the others.
"""

from __future__ import annotations

import logging
import queue
import random
import threading
import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass

from service.errors import FacetError
from service.face.embed import Embedder
from service.metrics import Metrics
from service.rollout.challenger_result import Opinion, Sampled
from service.rollout.decision_log import Cases
from service.rollout.roles import Roles
from service.rollout.shadow_evaluation import Trial
from service.thread_priority import give_way, wait_while

log = logging.getLogger("facet")


@dataclass(frozen=True, slots=True)
class Budget:
    """What comparing may cost: requests that may wait, and the share of one core's time."""

    queue: int
    cpu: float


class Shadow:
    """Takes sampled decisions and compares them, one after another. `busy` says whether every worker has a request."""

    def __init__(
        self, roles: Roles, trial: Trial, cases: Cases, metrics: Metrics, budget: Budget, busy: Callable[[], bool]
    ) -> None:
        self._roles, self._trial, self._cases, self._metrics = roles, trial, cases, metrics
        self._budget, self._busy = budget, busy
        self._queue: queue.Queue[Sampled | None] = queue.Queue(budget.queue)
        self._stopping = threading.Event()
        self._random = random.Random()  # noqa: S311 - a sample, not a secret
        self._thread = threading.Thread(target=self._run, name="facet-shadow", daemon=True)
        self._thread.start()

    async def offer(self, model: Embedder, take: Callable[[], Sampled]) -> None:
        """Compare a decision of `model`, if it is the champion and chance has it; otherwise nothing is taken.

        A coroutine, so that it runs as a response's background task on the event loop: it never waits.
        """
        try:
            roles = self._roles.current()
            if model.digest == roles.champion and self._random.random() < roles.sample:
                self._queue.put_nowait(take())
        except queue.Full:
            self._metrics.shadow_dropped("queue_full")
        except FacetError as error:  # the answer is sent: this is nobody's problem
            self._metrics.shadow_dropped(error.code)

    def waiting(self) -> int:
        """Decisions that wait to be compared."""
        return self._queue.qsize()

    def close(self) -> None:
        """Finish the case at hand and drop what waits."""
        self._stopping.set()
        with suppress(queue.Full):  # then the thread does not sleep in it, and sees the event
            self._queue.put_nowait(None)
        self._thread.join()

    def _run(self) -> None:
        give_way()
        while (sampled := self._queue.get()) is not None and not self._stopping.is_set():
            begun = time.thread_time()
            self._compare(sampled)
            self._stopping.wait((time.thread_time() - begun) * (1 / self._budget.cpu - 1))

    def _compare(self, sampled: Sampled) -> None:
        """Whatever goes wrong here must end neither the thread nor the champion's record."""
        try:
            others = self._opinions(sampled)
            self._cases.keep(sampled, others)
            if others is not None:
                names = (self._roles.name_of(sampled.opinions[0].model), self._roles.name_of(others[0].model))
                for champion, challenger in zip(sampled.opinions, others, strict=True):
                    self._metrics.comparison(sampled.route, names, champion, challenger)
        except FacetError as error:
            self._metrics.shadow_dropped(error.code)
        except Exception:
            self._metrics.shadow_dropped("internal_error")
            log.exception("a comparison failed")

    def _opinions(self, sampled: Sampled) -> tuple[Opinion, ...] | None:
        challenger = self._roles.challenger()
        if challenger is None or challenger.digest == sampled.opinions[0].model:
            return None
        try:
            return self._trial.decide(sampled, challenger, lambda: wait_while(self._busy, self._stopping))
        except FacetError as error:
            self._metrics.shadow_dropped(error.code)
            return None
