"""Decisions as events, and who is told of them.

The service decides, then publishes what it decided, then answers. Whoever wants to know of decisions is an observer,
registered where the application is composed: a new one is a class, and no route changes.
"""

from __future__ import annotations

import logging
from collections.abc import Iterable
from concurrent.futures import Future
from dataclasses import dataclass
from typing import Any, Protocol

from service.decision import Outcome
from service.engine.results import Detection, Embedding, EnrolmentOutcome, Identification, Repetition, Verification
from service.errors import FacetError
from service.face.embedding.embed import Embedder
from service.face.score import Threshold
from service.gallery.records import KeptReply, Receipt

log = logging.getLogger("facet")


@dataclass(frozen=True, slots=True)
class Erasure:
    """A collection, a subject or a face was erased, as the receipt says."""

    receipt: Receipt


@dataclass(frozen=True, slots=True)
class Reassignment:
    """Faces changed hands, from one person (an id) into another: `action` is move_face or merge_subjects."""

    action: str
    origin: str
    into: str
    faces: int


@dataclass(frozen=True, slots=True)
class RolesChange:
    """Models changed their roles: `action` is set, promote or rollback, `champion` the digest that answers now."""

    action: str
    champion: str


@dataclass(frozen=True, slots=True)
class ModelsChange:
    """A model (its digest) was loaded or unloaded: `action` is load_model or unload_model."""

    action: str
    model: str


@dataclass(frozen=True, slots=True)
class TemplatesChange:
    """Templates of a model (its digest) are to be made, or were dropped: `action` is reembed or drop_templates."""

    action: str
    model: str


@dataclass(frozen=True, slots=True)
class GroundTruth:
    """A client said what was true of a decision of before: `outcome` is genuine or impostor."""

    request_id: str
    """Of the decision."""
    route: str
    outcome: str
    acceptances: tuple[ModelAcceptance, ...]
    """What the models had made of it; none where the truth was told before, and is counted."""


@dataclass(frozen=True, slots=True)
class ModelAcceptance:
    """Whether the model of a role, by its name, had accepted the person."""

    role: str
    model: str
    accepted: bool


@dataclass(frozen=True, slots=True)
class TemplateOutcome:
    """The decision on one template: the score it was decided by, and the id of whom it matches, where it does."""

    outcome: Outcome
    score: float | None
    target: str | None


@dataclass(frozen=True, slots=True)
class BroughtTemplates:
    """Templates that a caller brought were decided on. No picture was seen, so no other model can decide again.

    `action` is verify or identify.
    """

    action: str
    model: Embedder
    threshold: Threshold
    outcomes: tuple[TemplateOutcome, ...]


@dataclass(frozen=True, slots=True)
class Access:
    """A request that decided nothing: read, changed a record, or was refused. `outcome` is done or a problem's code."""

    action: str
    outcome: str
    target: str | None = None
    """The id of whom or what it concerned, where it got as far as that."""


Decision = (
    Verification
    | Identification
    | EnrolmentOutcome
    | Repetition
    | KeptReply
    | Detection
    | Embedding
    | Erasure
    | Reassignment
    | RolesChange
    | ModelsChange
    | TemplatesChange
    | GroundTruth
    | BroughtTemplates
    | Access
)


@dataclass(frozen=True, slots=True)
class DecisionContext:
    """The request that led to a decision."""

    request_id: str
    principal: str
    """Who asked: the key's principal, or the address of a caller without one."""
    collection: str | None
    """The collection decided in or changed; None where there is none, as for two images, or where it is all."""


@dataclass(frozen=True, slots=True)
class DecisionEvent:
    """Something that the service decided or did, for a request."""

    context: DecisionContext
    decision: Decision


class DecisionObserver(Protocol):
    """Is told of every decision, on the thread that made it and before the answer is sent: it must be quick."""

    def observe(self, event: DecisionEvent) -> Future[Any] | None:
        """Take note of a decision. What is returned, the writing of an entry say, ends before the answer is sent.

        Raises:
            FacetError: the decision cannot be answered, since it could not be noted.
        """
        ...


class Observers:
    """Those who are told, in their order."""

    def __init__(self, observers: Iterable[DecisionObserver]) -> None:
        self._observers = tuple(observers)

    def tell(self, event: DecisionEvent) -> list[Future[Any]]:
        """Tell every observer. What they return must have ended well before anything is answered.

        A fault of an observer's own goes to the log: it is neither the caller's nor another observer's problem.

        Raises:
            FacetError: an observer refuses the answer.
        """
        begun = []
        for observer in self._observers:
            try:
                if (noting := observer.observe(event)) is not None:
                    begun.append(noting)
            except FacetError:
                raise
            except Exception:
                log.exception("an observer of decisions failed")
        return begun

    def publish(self, event: DecisionEvent) -> None:
        """Tell every observer, and wait until all is noted.

        Raises:
            FacetError: an observer refuses the answer.
        """
        for noting in self.tell(event):
            noting.result()
