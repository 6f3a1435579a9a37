"""Champion and challenger: read, set, promoted, rolled back."""

from __future__ import annotations

from typing import Annotated, Any

from fastapi import APIRouter, Depends, Request

from service.api.access import Caller, Reader, everywhere
from service.api.http.errors import CollectionForbidden
from service.api.http.pagination import Cursor, Limit
from service.api.route_declarations import BODY, CALLER, STORE, body, problems, takes
from service.api.schemas import requests
from service.api.schemas import rollout as replies
from service.api.schemas.reply import Page
from service.api.services import Services, ServicesDep
from service.database.errors import CursorInvalid
from service.errors import FacetError
from service.face.errors import ModelNotFound
from service.observation import RolesChange
from service.rollout import errors as rollout
from service.rollout.roles import Assignment

router = APIRouter(prefix="/v1", tags=["comparison"])

CHANGING = (rollout.CoverageMissing, rollout.ChampionUnavailable, CollectionForbidden)


def _problems(*errors: type[FacetError]) -> dict[int | str, dict[str, Any]]:
    return problems(*CALLER, *STORE, *errors)


Admin = Annotated[Caller, Depends(everywhere)]


@router.get("/roles", summary="Read the roles", responses=_problems())
def read_roles(services: ServicesDep, caller: Reader) -> replies.Roles:
    """Which model answers where none is named, and which is tried beside it."""
    return _render(services, caller, services.roles.current())


@router.put(
    "/roles",
    summary="Set the roles",
    responses=_problems(*BODY, *CHANGING, rollout.RolesInvalid, ModelNotFound),
    openapi_extra=takes(requests.RolesRequest, forms=False),
)
def set_roles(
    request: Request,
    services: ServicesDep,
    caller: Admin,
    fields: Annotated[requests.RolesRequest, Depends(body(requests.RolesRequest, forms=False))],
) -> replies.Roles:
    """Name champion, challenger and sample. Every replica follows within a second.

    A new champion is refused while anybody is enrolled whom it could not find.
    """
    assignment = services.roles.assign(caller.principal, fields.champion, fields.challenger, fields.sample)
    return _publish(request, services, caller, assignment)


@router.post(
    "/roles/promote",
    summary="Promote the challenger",
    responses=_problems(*CHANGING, rollout.ChallengerMissing),
)
def promote(request: Request, services: ServicesDep, caller: Admin) -> replies.Roles:
    """The challenger becomes champion, and the champion its challenger. Nobody is enrolled again."""
    assignment = services.roles.promote(caller.principal)
    return _publish(request, services, caller, assignment)


@router.post(
    "/roles/rollback",
    summary="Go back to the champion before",
    responses=_problems(*CHANGING, rollout.NothingToRollBack),
)
def roll_back(request: Request, services: ServicesDep, caller: Admin) -> replies.Roles:
    """The roles as they were before the champion last changed; called again, one change further back."""
    assignment = services.roles.rollback(caller.principal)
    return _publish(request, services, caller, assignment)


@router.get("/roles/history", summary="List past roles", responses=_problems(CursorInvalid))
def list_roles(
    services: ServicesDep,
    caller: Reader,
    cursor: Cursor = None,
    limit: Limit = 100,
) -> Page[replies.Roles]:
    """Every assignment ever made, the newest first."""
    page = services.roles.history(cursor, limit)
    items = [_render(services, caller, assignment) for assignment in page.items]
    return Page[replies.Roles](items=items, next_cursor=page.next_cursor)


def _publish(request: Request, services: Services, caller: Caller, roles: Assignment) -> replies.Roles:
    services.publish(request, RolesChange(roles.action, roles.champion))
    return _render(services, caller, roles)


def _render(services: Services, caller: Caller, roles: Assignment) -> replies.Roles:
    return replies.Roles.of(roles, services.engine.models, named=caller.may_know(roles.principal))
