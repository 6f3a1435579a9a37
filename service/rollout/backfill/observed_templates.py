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
from service.decision import Outcome
from service.engine import Identification, Verification
from service.errors import FacetError
from service.face.errors import ThresholdUnsupported
from service.gallery import template_update
from service.gallery.records import Hit
from service.gallery_models import Reach
from service.index.changes import IndexChange
from service.metrics import Metrics
from service.models import Models
from service.pipeline import FaceFound
from service.thread_priority import give_way, wait_while

log = logging.getLogger("facet")

WAITING = 64
"""Sightings that may wait; the next is passed over: people come again."""


@dataclass(frozen=True, slots=True)
class Sighting:
    """Somebody enrolled, seen by `model` (its name) in a request; the crop lives in memory only."""

    request_id: str
    principal: str
    collection: str
    subject_id: str
    model: str
    score: float
    crop: NDArray[np.uint8]


class Sightings:
    """Takes sightings and makes what templates they can, one after another, in a thread of low priority.

    `rate` is the false match rate of a sighting; None takes none. `busy` says whether every worker has a request.
    """

    def __init__(
        self,
        models: Models,
        database: Database[IndexChange],
        keyring: Keyring,
        audit_log: AuditLog,
        metrics: Metrics,
        rate: float | None,
        busy: Callable[[], bool],
    ) -> None:
        """Start the thread, where a rate is set."""
        self._models, self._database, self._keyring = models, database, keyring
        self._audit_log, self._metrics = audit_log, metrics
        self._rate, self._busy = rate, busy
        self._queue: queue.Queue[tuple[Sighting, float] | None] = queue.Queue(WAITING)
        self._stopping = threading.Event()
        self._thread = threading.Thread(target=self._run, name="facet-sightings", daemon=True)
        if rate is not None:
            self._thread.start()

    async def offer_verification(self, request_id: str, principal: str, collection: str, seen: Verification) -> None:
        """Take the probe of a verification against a stored subject. A coroutine: it never waits."""
        if isinstance(seen.reference, Hit) and seen.matched and seen.reach is not None:
            subject, model = seen.reference.subject_id, seen.model.manifest.identity
            sighting = Sighting(request_id, principal, collection, subject, model, seen.score, seen.probe.crop)
            self._offer(sighting, seen.probe, seen.reach, None)

    async def offer_identification(
        self, request_id: str, principal: str, collection: str, seen: Identification
    ) -> None:
        """Take the faces of an identification that matched. A coroutine: it never waits."""
        for one in seen.faces:
            if one.outcome == Outcome.MATCH:
                best, model = one.candidates[0], seen.model.manifest.identity
                sighting = Sighting(
                    request_id, principal, collection, best.subject_id, model, best.score, one.face.crop
                )
                self._offer(sighting, one.face, seen.reach, seen.comparisons)

    def waiting(self) -> int:
        """Sightings that wait."""
        return self._queue.qsize()

    def close(self) -> None:
        """Finish the sighting at hand and drop what waits."""
        self._stopping.set()
        if self._rate is not None:
            with suppress(queue.Full):
                self._queue.put_nowait(None)
            self._thread.join()

    def _offer(self, sighting: Sighting, face: FaceFound, reach: Reach, comparisons: int | None) -> None:
        if self._rate is None or face.quality.reasons:
            return
        table = reach.thresholds
        try:
            sure = table.at(self._rate) if comparisons is None else table.for_gallery(self._rate, comparisons)
        except ThresholdUnsupported as error:
            log.warning("FACET_RENEW_FMR: %s", error)
            return
        if sighting.score >= sure.value:
            with suppress(queue.Full):
                self._queue.put_nowait((sighting, sure.value))

    def _run(self) -> None:
        give_way()
        while (waiting := self._queue.get()) is not None and not self._stopping.is_set():
            wait_while(self._busy, self._stopping)
            try:
                self._renew(*waiting)
            except FacetError as error:
                log.warning("a sighting was not used: %s", error)
            except Exception:
                log.exception("a sighting was not used")

    def _renew(self, sighting: Sighting, threshold: float) -> None:
        for embedder in self._models.embedders:
            lacking = self._database.read(
                partial(template_update.faces_to_renew, digest=embedder.digest, subject_id=sighting.subject_id)
            )
            if not lacking:
                continue
            vector = embedder.embed(sighting.crop[None])[0]
            new_templates = dict.fromkeys(lacking, vector)
            add = partial(
                template_update.add_templates,
                keyring=self._keyring,
                digest=embedder.digest,
                new_templates=new_templates,
            )
            self._metrics.templates_made(embedder.manifest.identity, "sight", self._database.change_alone(add))
            self._audit_log.append(
                AuditEntry(
                    request_id=sighting.request_id,
                    principal=sighting.principal,
                    action="renew",
                    outcome=embedder.manifest.identity,
                    collection=sighting.collection,
                    model=sighting.model,
                    threshold=threshold,
                )
            )
