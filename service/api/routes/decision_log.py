"""What champion and challenger made of the same requests, and what was true."""

from __future__ import annotations

from typing import Annotated, Literal

from fastapi import APIRouter, Depends, Path, Query, Request

from service.api.access import Caller, Reader, allow
from service.api.http.errors import CollectionForbidden, ScopeMissing
from service.api.http.moment import Moment
from service.api.http.pagination import Cursor, Limit
from service.api.route_declarations import BODY, CALLER, STORE, body, problems, takes
from service.api.schemas import requests
from service.api.schemas import rollout as replies
from service.api.schemas.reply import Page
from service.api.schemas.requests import QueryName
from service.api.services import Services, ServicesDep
from service.database.errors import CursorInvalid
from service.face.errors import ModelNotFound
from service.keys import Scope
from service.observation import GroundTruth, ModelAcceptance
from service.rollout.decision_log import CHALLENGER, CHAMPION, LoggedDecision, LogQuery, Reach
from service.rollout.errors import DecisionNotFound
from service.rollout.report import report

router = APIRouter(prefix="/v1", tags=["comparison"])


def read_query(
    services: ServicesDep,
    caller: Reader,
    since: Annotated[Moment | None, Query(description="Cases from this moment on.")] = None,
    until: Annotated[Moment | None, Query(description="Cases before this moment.")] = None,
    collection: Annotated[QueryName | None, Query(max_length=200, description="Cases of this collection.")] = None,
    route: Annotated[Literal["verify", "identify"] | None, Query(description="Cases of this kind.")] = None,
    champion: Annotated[
        str | None, Query(max_length=80, description="Model that answered. Unset: the champion now.")
    ] = None,
    challenger: Annotated[
        str | None, Query(max_length=80, description="Model that was tried. Unset: the challenger now, or none.")
    ] = None,
) -> LogQuery:
    """The cases that the query asks for, among those that the key may see."""
    roles = services.roles.current()
    return LogQuery(
        champion=roles.champion if champion is None else services.registry.find(champion).manifest.sha256,
        challenger=roles.challenger if challenger is None else services.registry.find(challenger).manifest.sha256,
        since=since,
        until=until,
        route=route,
        collections=caller.collections if collection is None else frozenset({caller.require(collection)}),
    )


QueryDep = Annotated[LogQuery, Depends(read_query)]


@router.get(
    "/comparisons",
    summary="Compare two models",
    responses=problems(*CALLER, *STORE, CollectionForbidden, ModelNotFound),
)
def read_comparison(services: ServicesDep, query: QueryDep) -> replies.Comparison:
    """How the decisions of two models on the same live requests compare, by the cases kept."""
    return replies.Comparison.of(report(services.decision_log.all(query)), query, services.engine.models)


@router.get(
    "/comparisons/cases",
    summary="List compared decisions",
    responses=problems(*CALLER, *STORE, CollectionForbidden, ModelNotFound, CursorInvalid),
)
def list_cases(
    services: ServicesDep,
    query: QueryDep,
    disagreeing: Annotated[bool, Query(description="Only cases on which the models disagree.")] = True,
    cursor: Cursor = None,
    limit: Limit = 100,
) -> Page[replies.Case]:
    """Cases one by one, the newest first: request ids, scores, thresholds, decisions, ranks and seconds."""
    page = services.decision_log.page(query, disagreeing, cursor, limit)
    items = [replies.Case.of(case) for case in page.items]
    return Page[replies.Case](items=items, next_cursor=page.next_cursor)


@router.post(
    "/decisions/{request_id}/outcome",
    summary="Tell the truth about a decision",
    responses=problems(*CALLER, *BODY, *STORE, DecisionNotFound, ScopeMissing),
    openapi_extra=takes(requests.OutcomeRequest, forms=False),
)
def tell_outcome(
    request: Request,
    services: ServicesDep,
    caller: Annotated[Caller, Depends(allow(None))],
    request_id: Annotated[str, Path(min_length=1, max_length=128, description="Request id of the decision.")],
    fields: Annotated[requests.OutcomeRequest, Depends(body(requests.OutcomeRequest, forms=False))],
) -> replies.Case:
    """Say whether the person was the one in question: the reference, the subject, or rank 1 of the answer.

    Only sampled decisions are kept, and a moment passes until one is. Told again, the last word holds. A decision
    belongs to the key that asked for it; an admin may judge those of other keys in its collections. The key needs the
    scope of the decision: `verify` or `identify`.
    """
    reach = Reach(caller.principal, caller.collections, caller.key is None or caller.key.may(Scope.ADMIN))
    before = services.decision_log.find(request_id, fields.face, reach)
    if caller.key is not None and not caller.key.may(Scope(before.route)):
        raise ScopeMissing(f"this key lacks the scope {before.route!r}")
    decision = services.decision_log.judge(before, fields.outcome, caller.principal)
    services.publish(request, _truth(services, decision, counts=before.outcome is None), decision.collection)
    return replies.Case.of(decision)


def _truth(services: Services, decision: LoggedDecision, counts: bool) -> GroundTruth:
    """What was told; a decision `counts` for the models once, and each word on it is one for the audit log."""
    if not counts:
        return GroundTruth(decision.request_id, decision.route, decision.outcome or "", ())
    name_of = services.roles.name_of
    acceptances = [ModelAcceptance(CHAMPION, name_of(decision.champion.model), decision.champion.accepts)]
    if decision.challenger is not None:
        accepted = decision.challenger_accepts
        acceptances.append(ModelAcceptance(CHALLENGER, name_of(decision.challenger.model), accepted))
    return GroundTruth(decision.request_id, decision.route, decision.outcome or "", tuple(acceptances))
