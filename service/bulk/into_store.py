"""People enrolled into a store whose service is stopped, by the engine that the service runs on."""

from __future__ import annotations

import uuid
from collections.abc import Sequence

from pydantic import TypeAdapter, ValidationError

from service.api.http.body import faults_of
from service.api.http.errors import RequestInvalid
from service.api.schemas.requests import Metadata
from service.bulk.enrolment import Batch, Choices, Verdict
from service.database.audit_log import name_principal
from service.decision import OperatingPoint
from service.engine.engine import Engine
from service.engine.enrolment_report import Refusal
from service.engine.results import EnrolmentOutcome, EnrolmentRefused, Repetition
from service.errors import FacetError
from service.gallery.errors import DuplicateSubject, EnrolmentErased, NameInvalid
from service.gallery.records import DuplicatePolicy, Idempotency, KeptReply
from service.observation import DecisionContext, DecisionEvent, Observers
from service.runtime.timing import Stages

METADATA: TypeAdapter[Metadata] = TypeAdapter(Metadata)
"""Facts as the route takes them: an archive of others could not be read again."""


class StoreEnroller:
    """Enrols by the engine, and tells the observers, the audit log first of all; safe to use from many threads."""

    def __init__(self, engine: Engine, observers: Observers, store: str, choices: Choices) -> None:
        """Take the engine, what records call its store, and what is asked of every enrolment.

        Raises:
            ModelNotFound: There is no such model.
        """
        self._engine, self._observers, self._choices = engine, observers, choices
        self._embedder = engine.embedder(choices.model)
        self._principal = name_principal()
        self.target = f"{store} {choices.collection}"

    def enroll(self, batch: Batch) -> Sequence[Verdict]:
        """Enrol a batch in one transaction.

        Raises:
            FacetError: The storage or a model fails, or there is no such collection.
        """
        request_id = uuid.uuid4().hex
        try:
            METADATA.validate_python(dict(batch.person.metadata))
        except ValidationError as error:
            return [_refused(RequestInvalid(faults_of(error, "metadata")))] * len(batch.images)
        try:
            outcome = self._engine.enroll(
                self._choices.collection,
                batch.person.name,
                batch.images,
                self._embedder,
                OperatingPoint(None, None),
                Stages(),
                metadata=batch.person.metadata or None,
                expires_at=batch.person.expires_at,
                duplicate=DuplicatePolicy(self._choices.duplicate),
                idempotency=Idempotency(self._principal, batch.key, batch.key, request_id),
                faces=self._choices.faces,
                quality=self._choices.quality,
            )
        except EnrolmentRefused as refused:
            return [_refused(image.error) for image in refused.images if image.error is not None]
        except (DuplicateSubject, EnrolmentErased, NameInvalid) as error:
            return [_refused(error)] * len(batch.images)
        context = DecisionContext(request_id, self._principal, self._choices.collection)
        self._observers.publish(DecisionEvent(context, outcome))
        return _verdicts_of(outcome)


def _verdicts_of(outcome: EnrolmentOutcome | Repetition | KeptReply) -> list[Verdict]:
    assert not isinstance(outcome, KeptReply)  # noqa: S101 - an earlier version made no such keys
    others = [(hit.subject, hit.score) for hit in outcome.enrolment.duplicates]
    return [
        Verdict.enrolled(image.face_id, others)
        if image.face_id is not None
        else _verdict_of(image.refusal or Refusal("unknown", "nobody said why"))
        for image in outcome.report.images
    ]


def _refused(error: FacetError) -> Verdict:
    return _verdict_of(Refusal.of(error))


def _verdict_of(refusal: Refusal) -> Verdict:
    return Verdict(None, refusal.code, refusal.detail, refusal.reasons)
