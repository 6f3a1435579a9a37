"""The audit log's part of decisions: who decided what with which model at which threshold, and nothing biometric."""

from __future__ import annotations

from collections.abc import Callable

from service.database.audit_log import AuditEntry
from service.decision import Outcome
from service.engine import EnrolmentOutcome, Identification, Verification
from service.observation import DecisionEvent, Erasure, RolesChange, TemplatesChange


class Auditor:
    """Appends what is decided to the audit log. What cannot be appended is not answered."""

    def __init__(self, append: Callable[[AuditEntry], None]) -> None:
        """Take the way to the log; `append` must not wait for the disk."""
        self._append = append

    def observe(self, event: DecisionEvent) -> None:
        """Append one entry, or one for each face identified.

        Raises:
            StorageError, StorageBusy.
        """
        match event.decision:
            case Verification() as verification:
                outcome = Outcome.MATCH if verification.matched else Outcome.NO_MATCH
                self._note(event, "verify", outcome, *_basis(verification))
            case Identification() as identification:
                for face in identification.faces:
                    self._note(event, "identify", face.outcome, *_basis(identification))
            case EnrolmentOutcome() as enrolment:
                kept = sum(image.face_id is not None for image in enrolment.images)
                self._note(event, "enroll", f"{kept} of {len(enrolment.images)}")
            case Erasure(receipt):
                self._note(event, f"delete_{receipt.kind}", "done")
            case RolesChange(action, champion):
                self._note(event, f"roles_{action}", "done", champion)
            case TemplatesChange(action, model):
                self._note(event, action, "done", model)

    def _note(
        self, event: DecisionEvent, action: str, outcome: str, model: str | None = None, threshold: float | None = None
    ) -> None:
        self._append(
            AuditEntry(
                request_id=event.context.request_id,
                principal=event.context.principal,
                action=action,
                outcome=outcome,
                collection=event.context.collection,
                model=model,
                threshold=threshold,
            )
        )


def _basis(decision: Verification | Identification) -> tuple[str, float]:
    return decision.model.manifest.identity, decision.threshold.value
