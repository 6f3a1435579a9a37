"""What champion and challenger made of the same requests, and what was true."""

from __future__ import annotations

from datetime import UTC
from typing import Annotated, Literal

from fastapi import APIRouter, Depends, Path, Query
from pydantic import AwareDatetime

from service.api.http.auth import Caller, allow
from service.api.http.declarations import BODY, CALLER, STORE, body, problems, takes
from service.api.http.errors import CollectionForbidden, ScopeMissing
from service.api.http.pagination import Cursor, Limit
from service.api.schemas import replies, requests
from service.api.services import Services, ServicesDep
from service.database.errors import CursorInvalid
from service.face.errors import ModelNotFound
from service.keys import Scope
from service.rollout.decision_log import Case, Choice
from service.rollout.errors import DecisionNotFound
from service.rollout.report import challenger_accepts, champion_accepts, report

router = APIRouter(prefix="/v1", tags=["comparison"])

Reader = Annotated[Caller, Depends(allow(Scope.READ))]


def chosen(
    services: ServicesDep,
    caller: Reader,
    since: Annotated[AwareDatetime | None, Query(description="Cases from this moment on.")] = None,
    until: Annotated[AwareDatetime | None, Query(description="Cases before this moment.")] = None,
    collection: Annotated[str | None, Query(max_length=200, description="Cases of this collection.")] = None,
    route: Annotated[Literal["verify", "identify"] | None, Query(description="Cases of this kind.")] = None,
    champion: Annotated[
        str | None, Query(max_length=80, description="Model that answered. Unset: the champion now.")
    ] = None,
    challenger: Annotated[
        str | None, Query(max_length=80, description="Model that was tried. Unset: the challenger now, or none.")
    ] = None,
) -> Choice:
    """The cases that the query asks for, among those that the key may see."""
    roles = services.roles.current()
    return Choice(
        champion=roles.champion if champion is None else services.registry.find(champion).manifest.sha256,
        challenger=roles.challenger if challenger is None else services.registry.find(challenger).manifest.sha256,
        since=since and since.astimezone(UTC),
        until=until and until.astimezone(UTC),
        route=route,
        collections=caller.collections if collection is None else frozenset({caller.require(collection)}),
    )


Chosen = Annotated[Choice, Depends(chosen)]


@router.get(
    "/comparisons",
    summary="Compare two models",
    responses=problems(*CALLER, *STORE, CollectionForbidden, ModelNotFound),
)
def read_comparison(services: ServicesDep, choice: Chosen) -> replies.Comparison:
    """How the decisions of two models on the same live requests compare, by the cases kept."""
    return replies.Comparison.of(report(services.cases.all(choice)), choice, services.engine.models)


@router.get(
    "/comparisons/cases",
    summary="List compared decisions",
    responses=problems(*CALLER, *STORE, CollectionForbidden, ModelNotFound, CursorInvalid),
)
def list_cases(
    services: ServicesDep,
    choice: Chosen,
    disagreeing: Annotated[bool, Query(description="Only cases on which the models disagree.")] = True,
    cursor: Cursor = None,
    limit: Limit = 100,
) -> replies.Page[replies.Case]:
    """Cases one by one, the newest first: request ids, scores, thresholds, decisions, ranks and seconds."""
    page = services.cases.page(choice, disagreeing, cursor, limit)
    items = [replies.Case.model_validate(case) for case in page.items]
    return replies.Page[replies.Case](items=items, next_cursor=page.next_cursor)


@router.post(
    "/decisions/{request_id}/outcome",
    summary="Tell the truth about a decision",
    responses=problems(*CALLER, *BODY, *STORE, DecisionNotFound, ScopeMissing, CollectionForbidden),
    openapi_extra=takes(requests.OutcomeRequest, forms=False),
)
def tell_outcome(
    services: ServicesDep,
    caller: Annotated[Caller, Depends(allow(None))],
    request_id: Annotated[str, Path(min_length=1, max_length=128, description="Request id of the decision.")],
    asked: Annotated[requests.OutcomeRequest, Depends(body(requests.OutcomeRequest, forms=False))],
) -> replies.Case:
    """Say whether the person was the one in question: the reference, the subject, or rank 1 of the answer.

    Only sampled decisions are kept, and a moment passes until one is. Told again, the last word holds. The key needs
    the scope of the decision: `verify` or `identify`.
    """
    case = services.cases.find(request_id, asked.face)
    if caller.key is not None and not caller.key.may(Scope(case.route)):
        raise ScopeMissing(f"this key lacks the scope {case.route!r}")
    if case.collection is not None:
        caller.require(case.collection)
    judged = services.cases.judge(case, asked.outcome, caller.principal)
    if case.outcome is None:
        _count(services, judged)
    return replies.Case.model_validate(judged)


def _count(services: Services, case: Case) -> None:
    sides = [("champion", case.champion, champion_accepts(case))]
    if case.challenger is not None:
        sides.append(("challenger", case.challenger, challenger_accepts(case)))
    for role, digest, accepted in sides:
        name = services.roles.name_of(digest)
        services.metrics.outcome(case.route, role, name, case.outcome or "", accepted)
