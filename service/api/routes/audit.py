"""The audit log, for those who answer for the service."""

from __future__ import annotations

from typing import Annotated

from fastapi import APIRouter, Query

from service.api.access import Admin
from service.api.http.errors import CollectionForbidden
from service.api.http.moment import Moment
from service.api.http.pagination import Cursor, Limit
from service.api.route_declarations import CALLER, STORE, problems
from service.api.schemas.audit import AuditRecord
from service.api.schemas.reply import Page
from service.api.schemas.requests import QueryName
from service.api.services import ServicesDep
from service.database.audit_log import AuditQuery, read_audit
from service.database.errors import CursorInvalid

router = APIRouter(prefix="/v1", tags=["audit"])


@router.get(
    "/audit", summary="Read the audit log", responses=problems(*CALLER, *STORE, CollectionForbidden, CursorInvalid)
)
def list_audit(
    services: ServicesDep,
    caller: Admin,
    since: Annotated[Moment | None, Query(description="Entries from this moment on.")] = None,
    until: Annotated[Moment | None, Query(description="Entries before this moment.")] = None,
    principal: Annotated[str | None, Query(max_length=255, description="Entries of this caller.")] = None,
    action: Annotated[str | None, Query(max_length=64, description="Entries of this action.")] = None,
    target: Annotated[str | None, Query(max_length=255, description="Entries about this id.")] = None,
    collection: Annotated[QueryName | None, Query(max_length=200, description="Entries about this collection.")] = None,
    cursor: Cursor = None,
    limit: Limit = 100,
) -> Page[AuditRecord]:
    """Who asked what of whom, the newest entry first. A key that is limited to collections sees entries about these."""
    query = AuditQuery(
        since=since,
        until=until,
        principal=principal,
        action=action,
        target=target,
        collections=caller.collections if collection is None else frozenset({caller.require(collection)}),
    )
    page = read_audit(services.gallery.database.engine, query, cursor, limit)
    items = [AuditRecord.model_validate(entry) for entry in page.items]
    return Page[AuditRecord](items=items, next_cursor=page.next_cursor)
