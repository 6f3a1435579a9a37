"""The audit log's part of events: who asked what of whom, with which model at which threshold. Nothing biometric."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import Future
from typing import Any, Protocol

from service.database.audit_log import AuditEntry
from service.decision import Outcome
from service.engine.results import Detection, Embedding, EnrolmentOutcome, Identification, Repetition, Verification
from service.gallery.records import Hit, KeptReply
from service.observation import (
    Access,
    BroughtTemplates,
    DecisionEvent,
    Erasure,
    GroundTruth,
    ModelsChange,
    Reassignment,
    RolesChange,
    TemplatesChange,
)

CHEAP = frozenset({"key_required", "key_invalid", "key_in_query", "too_many_guesses", "rate_limited", "overloaded"})
"""Refusals that cost a caller nothing: they could fill the disk."""
CHEAP_A_MINUTE = 60


class Log(Protocol):
    """Where entries go."""

    def append(self, entry: AuditEntry) -> None:
        """Take an entry without waiting for the disk."""
        ...

    def begin(self, entries: list[AuditEntry]) -> Future[Any]:
        """Begin to write entries; when the future has ended well they are durable."""
        ...


class Auditor:
    """Notes every event in the audit log. What was decided is not answered before its entry is durable."""

    def __init__(self, log: Log, *, durable: bool = True, clock: Callable[[], float] = time.monotonic) -> None:
        """Take the log; where nothing must be `durable`, entries are appended to it, and a crash may lose the last."""
        self._log, self._durable, self._clock = log, durable, clock
        self._lock = threading.Lock()
        self._minute_ends = float("-inf")
        self._cheap = 0

    def observe(self, event: DecisionEvent) -> Future[Any] | None:
        """Note one event: one entry, or one for each face identified. The future, if any, ends when it is durable.

        Raises:
            StorageError, StorageBusy: What cannot be noted cannot be answered.
        """
        if isinstance(event.decision, Access):
            if event.decision.outcome not in CHEAP or self._affords(event):
                self._log.append(_entry(event, event.decision.action, event.decision.outcome, event.decision.target))
            return None
        entries = list(_entries(event))
        if self._durable and entries:
            return self._log.begin(entries)
        for entry in entries:
            self._log.append(entry)
        return None

    def _affords(self, event: DecisionEvent) -> bool:
        """Whether a cheap refusal gets an entry of its own; the others of a minute are summed in one."""
        with self._lock:
            ended = self._clock() >= self._minute_ends
            uncounted = self._cheap - CHEAP_A_MINUTE if ended else 0
            if ended:
                self._minute_ends, self._cheap = self._clock() + 60.0, 0
            self._cheap += 1
            affords = self._cheap <= CHEAP_A_MINUTE
        if uncounted > 0:
            self._log.append(AuditEntry("", "", "refused", f"{uncounted} more"))
        return affords


def _entries(event: DecisionEvent) -> Iterator[AuditEntry]:
    match event.decision:
        case Verification() as verification:
            outcome = Outcome.MATCH if verification.matched else Outcome.NO_MATCH
            reference = verification.reference
            target = reference.subject_id if isinstance(reference, Hit) else None
            yield _entry(event, "verify", outcome, target, *_basis(verification))
        case Identification() as identification:
            for face in identification.faces:
                target = face.candidates[0].subject_id if face.outcome == Outcome.MATCH else None
                yield _entry(event, "identify", face.outcome, target, *_basis(identification))
            if not identification.faces:
                yield _entry(event, "identify", "0 faces", None, *_basis(identification))
        case EnrolmentOutcome() as enrolment:
            kept = sum(image.face_id is not None for image in enrolment.images)
            subject_id = enrolment.enrolment.subject.id
            yield _entry(event, "enroll", f"{kept} of {len(enrolment.images)}", subject_id)
        case Repetition() | KeptReply() as repeated:
            target = repeated.enrolment.subject.id if isinstance(repeated, Repetition) else None
            yield _entry(event, "enroll", "repeated", target)
        case Detection(scene=scene):
            yield _entry(event, "detect", f"{len(scene.faces)} faces")
        case BroughtTemplates(action, model, threshold, outcomes):
            for each in outcomes:
                basis = model.manifest.identity, threshold.value
                yield _entry(event, f"{action}_template", each.outcome, each.target, *basis)
        case Embedding(scene=scene, model=model):
            yield _entry(event, "embed", f"{len(scene.faces)} faces", None, model.manifest.identity)
        case _:
            yield from _changes(event)


def _changes(event: DecisionEvent) -> Iterator[AuditEntry]:
    match event.decision:
        case Erasure(receipt):
            yield _entry(event, f"delete_{receipt.kind}", "done", receipt.target)
        case Reassignment(action, origin, into, faces):
            yield _entry(event, action, f"gave {faces}", origin)
            yield _entry(event, action, f"took {faces}", into)
        case RolesChange(action, champion):
            yield _entry(event, f"roles_{action}", "done", None, champion)
        case TemplatesChange(action, model) | ModelsChange(action, model):
            yield _entry(event, action, "done", None, model)
        case GroundTruth(request_id, _, outcome):
            yield _entry(event, "outcome", outcome, request_id)


def _entry(
    event: DecisionEvent,
    action: str,
    outcome: str,
    target: str | None = None,
    model: str | None = None,
    threshold: float | None = None,
) -> AuditEntry:
    return AuditEntry(
        request_id=event.context.request_id,
        principal=event.context.principal,
        action=action,
        outcome=outcome,
        collection=event.context.collection,
        model=model,
        threshold=threshold,
        target=target,
    )


def _basis(decision: Verification | Identification) -> tuple[str, float]:
    return decision.model.manifest.identity, decision.threshold.value
