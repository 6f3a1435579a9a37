"""The challenger decides a share of live requests too: beside the workers, in one thread of low priority.

It may cost nothing that a caller could notice. The queue is short and what does not fit is dropped; the thread embeds
only while a worker is free, a few faces at a time, and rests after each decision until its share of one core's time
is kept. It runs at a lower priority than the workers, yet not the lowest: a thread that holds the interpreter's lock
and is never scheduled would hold up the others.
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

from service.engine.results import Identification, Verification
from service.errors import FacetError
from service.face.embedding.embed import Embedder
from service.observation import DecisionEvent
from service.rollout.decision_log import DecisionLog
from service.rollout.metrics import RolloutMetrics
from service.rollout.model_decision import ModelDecision
from service.rollout.roles import Roles
from service.rollout.sampling import SampledDecision, sample_identification, sample_verification
from service.rollout.shadow_evaluation import ShadowEvaluation
from service.runtime.thread_priority import give_way, wait_while

log = logging.getLogger("facet")


@dataclass(frozen=True, slots=True)
class Budget:
    """What comparing may cost: requests that may wait, and the share of one core's time."""

    queue: int
    cpu: float


class Shadow:
    """Samples decisions as an observer, and lets the challenger decide them too, one after another."""

    def __init__(
        self,
        roles: Roles,
        evaluation: ShadowEvaluation,
        decisions: DecisionLog,
        metrics: RolloutMetrics,
        budget: Budget,
        busy: Callable[[], bool],
    ) -> None:
        """Start the thread; `busy` says whether every worker has a request."""
        self._roles, self._evaluation, self._decisions, self._metrics = roles, evaluation, decisions, metrics
        self._budget, self._busy = budget, busy
        self._queue: queue.Queue[SampledDecision | None] = queue.Queue(budget.queue)
        self._stopping = threading.Event()
        self._random = random.Random()  # noqa: S311 - a sample, not a secret
        self._thread = threading.Thread(target=self._run, name="facet-shadow", daemon=True)
        self._thread.start()

    def observe(self, event: DecisionEvent) -> None:
        """Offer a verification, or an identification of somebody."""
        result, request_id, principal = event.decision, event.context.request_id, event.context.principal
        if isinstance(result, Verification):
            self.offer(result.model, lambda: sample_verification(request_id, principal, result))
        elif isinstance(result, Identification) and result.faces:
            self.offer(result.model, lambda: sample_identification(request_id, principal, result))

    def offer(self, model: Embedder, take: Callable[[], SampledDecision]) -> None:
        """Compare a decision of `model`, if it is the champion and chance has it; otherwise nothing is taken.

        It never waits, and whatever goes wrong is no problem of the caller's.
        """
        try:
            roles = self._roles.current()
            if model.digest == roles.champion and self._random.random() < roles.sample:
                self._queue.put_nowait(take())
        except queue.Full:
            self._metrics.count_dropped("queue_full")
        except FacetError as error:
            self._metrics.count_dropped(error.code)

    def waiting(self) -> int:
        """Count the decisions that wait to be compared."""
        return self._queue.qsize()

    def close(self) -> None:
        """Finish the decision at hand and drop what waits."""
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

    def _compare(self, sampled: SampledDecision) -> None:
        """Decide again and log; whatever goes wrong must end neither the thread nor the champion's log."""
        try:
            others = self._decide(sampled)
            self._decisions.keep(sampled, others)
            if others is not None:
                names = (self._roles.name_of(sampled.decisions[0].model), self._roles.name_of(others[0].model))
                for champion, challenger in zip(sampled.decisions, others, strict=True):
                    self._metrics.count_both(sampled.route, names, champion, challenger)
        except FacetError as error:
            self._metrics.count_dropped(error.code)
        except Exception:
            self._metrics.count_dropped("internal_error")
            log.exception("a challenger's decision failed")

    def _decide(self, sampled: SampledDecision) -> tuple[ModelDecision, ...] | None:
        challenger = self._roles.challenger()
        if challenger is None or challenger.digest == sampled.decisions[0].model:
            return None
        try:
            return self._evaluation.decide(sampled, challenger, lambda: wait_while(self._busy, self._stopping))
        except FacetError as error:
            self._metrics.count_dropped(error.code)
            return None
