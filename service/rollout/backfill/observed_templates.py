"""Templates made as people are seen again, where no crop was kept to make them from. Only where a setting allows it.

A photograph that shows somebody enrolled, surely enough, gives the templates that loaded models lack of them: to all
their faces without a template and without a crop. Surely enough is a false match rate of its own, stricter than that of
ordinary decisions, because a template of the wrong person would stay.
"""

from __future__ import annotations

import logging
import queue
import threading
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from functools import partial

import numpy as np
from numpy.typing import NDArray

from service.database.audit_log import AuditEntry, AuditLog
from service.database.base import Database
from service.database.encryption import Keyring
from service.decision import OperatingPoint, Outcome, is_match, threshold_for
from service.engine.results import Identification, Verification
from service.errors import FacetError
from service.face.errors import ThresholdUnsupported
from service.gallery.changes import template_update
from service.gallery.records import Hit
from service.gallery_models import Reach
from service.index.changes import IndexChange
from service.models import Models
from service.observation import DecisionEvent
from service.pipeline import FaceFound
from service.rollout.backfill.metrics import BackfillMetrics
from service.runtime.thread_priority import give_way, wait_while

log = logging.getLogger("facet")

WAITING = 64
"""Observations that may wait; the next is passed over: people come again."""


@dataclass(frozen=True, slots=True)
class Observation:
    """Somebody enrolled was recognised by `model` (its name) in a request; the crop lives in memory only."""

    request_id: str
    principal: str
    collection: str
    subject_id: str
    model: str
    threshold: float
    """Score from which on it is sure enough."""
    crop: NDArray[np.uint8]


class ObservedTemplates:
    """Takes photographs of people enrolled, as an observer, and makes what templates they can, one after another.

    In a thread of low priority, while a worker is free.
    """

    def __init__(
        self,
        models: Models,
        database: Database[IndexChange],
        keyring: Keyring,
        audit_log: AuditLog,
        metrics: BackfillMetrics,
        fmr: float | None,
        busy: Callable[[], bool],
    ) -> None:
        """Start the thread.

        Args:
            models: Loaded; each gets the templates that it lacks.
            database: Of those enrolled.
            keyring: Seals the templates.
            audit_log: Gets an entry for each renewal.
            metrics: Counts the templates made.
            fmr: The false match rate of being sure enough; None takes nothing.
            busy: Says whether every worker has a request.
        """
        self._models, self._database, self._keyring = models, database, keyring
        self._audit_log, self._metrics = audit_log, metrics
        self._point, self._busy = None if fmr is None else OperatingPoint(fmr=fmr), busy
        self._queue: queue.Queue[Observation | None] = queue.Queue(WAITING)
        self._stopping = threading.Event()
        self._thread = threading.Thread(target=self._run, name="facet-renewal", daemon=True)
        if fmr is not None:
            self._thread.start()

    def observe(self, event: DecisionEvent) -> None:
        """Take the probe of a verification of a stored subject, or the faces of an identification that matched."""
        result = event.decision
        if isinstance(result, Verification) and result.matched and result.reach is not None:
            if isinstance(result.reference, Hit):
                self._take(event, result, result.probe, result.reference, result.reach, result.pictures)
        elif isinstance(result, Identification):
            for each in result.faces:
                if each.outcome == Outcome.MATCH:
                    self._take(event, result, each.face, each.candidates[0], result.reach, result.comparisons)

    def waiting(self) -> int:
        """Count the observations that wait."""
        return self._queue.qsize()

    def close(self) -> None:
        """Finish the observation at hand and drop what waits."""
        self._stopping.set()
        if self._point is not None:
            with suppress(queue.Full):
                self._queue.put_nowait(None)
            self._thread.join()

    def _take(
        self,
        event: DecisionEvent,
        result: Verification | Identification,
        face: FaceFound,
        hit: Hit,
        reach: Reach,
        comparisons: int,
    ) -> None:
        """Queue a fit face that was recognised surely enough, by the best of so many comparisons."""
        if self._point is None or self._point.fmr is None or face.quality.reasons:
            return
        try:
            threshold = threshold_for(self._point, reach.thresholds, self._point.fmr, comparisons)
        except ThresholdUnsupported as error:
            log.warning("FACET_RENEW_FMR: %s", error)
            return
        if is_match(hit.score, threshold):
            observation = Observation(
                request_id=event.context.request_id,
                principal=event.context.principal,
                collection=event.context.collection or "",
                subject_id=hit.subject_id,
                model=result.model.manifest.identity,
                threshold=threshold.value,
                crop=face.crop,
            )
            with suppress(queue.Full):
                self._queue.put_nowait(observation)

    def _run(self) -> None:
        give_way()
        while (observation := self._queue.get()) is not None and not self._stopping.is_set():
            wait_while(self._busy, self._stopping)
            try:
                self._renew(observation)
            except FacetError as error:
                log.warning("a photograph made no template: %s", error)
            except Exception:
                log.exception("a photograph made no template")

    def _renew(self, observation: Observation) -> None:
        for embedder in self._models.embedders:
            lacking = self._database.read(
                partial(template_update.faces_to_renew, digest=embedder.digest, subject_id=observation.subject_id)
            )
            if not lacking:
                continue
            vector = embedder.embed(observation.crop[None])[0]
            new_templates = dict.fromkeys(lacking, vector)
            add = partial(
                template_update.add_templates,
                keyring=self._keyring,
                digest=embedder.digest,
                new_templates=new_templates,
                owner=observation.subject_id,
            )
            count = self._database.change_alone(add)
            self._metrics.count_templates(embedder.manifest.identity, "sight", count)
            if not count:  # erased or moved meanwhile
                continue
            self._audit_log.append(
                AuditEntry(
                    request_id=observation.request_id,
                    principal=observation.principal,
                    action="renew",
                    outcome=embedder.manifest.identity,
                    collection=observation.collection,
                    model=observation.model,
                    threshold=observation.threshold,
                    target=observation.subject_id,
                )
            )
