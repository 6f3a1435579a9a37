"""The webhooks' part of events: what receivers are told of, by ids. No picture, no template, no address of a caller."""

from __future__ import annotations

import logging
from collections.abc import Iterator, Mapping, Sequence
from functools import partial
from typing import TYPE_CHECKING, Any

from prometheus_client import CollectorRegistry

from service.database.base import Database
from service.database.schema import new_id, now
from service.decision import Outcome
from service.engine.results import EnrolmentOutcome, Identification, Verification
from service.errors import FacetError
from service.face.embedding.embed import Embedder
from service.face.score import Threshold
from service.gallery.records import Hit
from service.metrics import Sample
from service.observation import BroughtTemplates, DecisionEvent, Erasure
from service.settings.webhooks import Endpoint, Webhooks
from service.webhooks import outbox
from service.webhooks.metrics import FULL, WebhookMetrics, register_waiting
from service.webhooks.outbox import Message

if TYPE_CHECKING:
    from service.webhooks.delivery import Deliverer

log = logging.getLogger("facet")

KEPT_DAYS = 7.0
"""For which a message is kept whose receiver is no longer set, or that a restored backup brought back."""
ACTIONS = {"verify": "verification", "identify": "identification"}


class WebhookSender:
    """Keeps messages for the receivers that want them before the answer is sent; they are delivered beside requests.

    What cannot be kept is counted and logged, and the request answered: a receiver is no reason to refuse a caller.
    """

    def __init__(self, settings: Webhooks, database: Database[Any], registry: CollectorRegistry) -> None:
        """Register the series, and begin to deliver what waits."""
        self._database, self._most = database, settings.most
        self._endpoints = settings.endpoints
        self._metrics = WebhookMetrics(registry, [endpoint.name for endpoint in self._endpoints])
        register_waiting(registry, self._waiting)
        self._deliverers = _begin(settings, database, self._metrics) if self._endpoints else {}

    def observe(self, event: DecisionEvent) -> None:
        """Keep what an event is to the receivers; on return it survives a kill."""
        if not self._endpoints:
            return
        messages = list(messages_of(event))
        for endpoint in self._endpoints:
            own = [each for each in messages if endpoint.wants(each.event, event.context.collection)]
            if own:
                self._keep(endpoint, own)

    def prune(self) -> None:
        """Forget messages that nobody can be told any more.

        Raises:
            StorageError: The database does not take it.
        """
        if pruned := self._database.write(partial(outbox.prune, days=KEPT_DAYS)):
            log.error("%d webhook messages older than %g days are given up", pruned, KEPT_DAYS)

    def close(self) -> None:
        """Finish the tries at hand; what waits goes on with the next start, or in another process."""
        for deliverer in self._deliverers.values():
            deliverer.close()

    def _keep(self, endpoint: Endpoint, messages: Sequence[Message]) -> None:
        name = endpoint.name
        try:
            kept = self._database.change(lambda open_: outbox.put(open_.connection, name, messages, self._most))
        except FacetError as error:
            self._metrics.count_dropped(name, error.code, len(messages))
            log.error("%d webhook messages to %s are lost: %s", len(messages), name, error)
            return
        self._deliverers[name].wake()
        if lost := len(messages) - kept:
            self._metrics.count_dropped(name, FULL, lost)
            log.error("%d webhook messages to %s are lost: %d wait already", lost, name, self._most)

    def _waiting(self) -> list[Sample]:
        def read(name: str) -> int:
            return self._database.read(lambda connection: outbox.waiting(connection, name)).messages

        return [((endpoint.name,), read(endpoint.name)) for endpoint in self._endpoints]


def _begin(settings: Webhooks, database: Database[Any], metrics: WebhookMetrics) -> dict[str, Deliverer]:
    """Begin to deliver to each receiver; only then the HTTP client is imported, which takes time."""
    from service.webhooks.delivery import Deliverer, Patience  # noqa: PLC0415 - as the docstring says

    patience = Patience(settings.seconds, settings.tries, settings.retry_seconds)
    return {endpoint.name: Deliverer(endpoint, database, patience, metrics) for endpoint in settings.endpoints}


def messages_of(event: DecisionEvent) -> Iterator[Message]:
    """What receivers are told of an event: nothing of most, one message for each face identified."""
    match event.decision:
        case Verification() as result:
            people = [_person(result.reference)] if isinstance(result.reference, Hit) else []
            outcome = Outcome.MATCH if result.matched else Outcome.NO_MATCH
            basis = _basis(result.model, result.threshold)
            yield _message(event, f"verification.{outcome}", {**basis, "score": result.score, "subjects": people})
        case Identification() as result:
            basis = _basis(result.model, result.threshold)
            for number, each in enumerate(result.faces):
                score = each.candidates[0].score if each.candidates else None
                likely = each.passing[:1] if each.outcome == Outcome.MATCH else each.passing
                people = [_person(hit) for hit in likely]
                data = {**basis, "face": number, "score": score, "subjects": people}
                yield _message(event, f"identification.{each.outcome}", data)
        case BroughtTemplates(action, model, threshold, outcomes):
            for number, brought in enumerate(outcomes):
                people = [{"id": brought.target}] if brought.target else []
                data = {**_basis(model, threshold), "face": number, "score": brought.score, "subjects": people}
                yield _message(event, f"{ACTIONS[action]}.{brought.outcome}", data)
        case EnrolmentOutcome(enrolment=enrolment):
            data = {"created": enrolment.created, "faces": len(enrolment.faces)}
            yield _message(event, "enrolment.done", {**data, "subjects": [{"id": enrolment.subject.id}]})
        case Erasure(receipt):
            data = {"kind": receipt.kind, "target": receipt.target, "faces": receipt.faces, "receipt": receipt.id}
            yield _message(event, "erasure.done", data)


def _message(event: DecisionEvent, kind: str, data: Mapping[str, Any]) -> Message:
    context = event.context
    # An address is personal data, and names no camera.
    caller = None if context.principal.startswith("address:") else context.principal
    about = {"request_id": context.request_id, "caller": caller, "collection": context.collection}
    return Message(new_id(), now(), kind, {**about, **data})


def _basis(model: Embedder, threshold: Threshold) -> dict[str, Any]:
    return {"model": model.manifest.identity, "threshold": threshold.value, "fmr": threshold.fmr}


def _person(hit: Hit) -> dict[str, Any]:
    return {"id": hit.subject_id, "score": hit.score}
