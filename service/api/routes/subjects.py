"""Subjects of a collection as resources: read, renamed, merged, erased."""

from __future__ import annotations

import hashlib
import json
from functools import partial
from typing import Annotated

from fastapi import APIRouter, Depends, Query, Request, Response

from service.api.access import Enroller, Eraser, Reader
from service.api.http.idempotency import IdempotencyKey
from service.api.http.pagination import Cursor, Limit
from service.api.http.request_context import context_of
from service.api.route_declarations import BODY, ERASURE, GALLERY, CollectionName, SubjectName, body, problems, takes
from service.api.schemas import gallery as replies
from service.api.schemas import requests
from service.api.schemas.reply import Page
from service.api.schemas.requests import QueryName
from service.api.services import ServicesDep
from service.database.errors import CursorInvalid
from service.database.schema import now
from service.gallery.changes import reassignment
from service.gallery.errors import (
    CollectionNotFound,
    EnrolmentErased,
    IdempotencyConflict,
    NameInvalid,
    SamePerson,
    SubjectExists,
    SubjectNotFound,
)
from service.gallery.gallery import KEEP_REPLY
from service.gallery.records import Idempotency
from service.observation import Reassignment

router = APIRouter(prefix="/v1", tags=["gallery"])


@router.get(
    "/collections/{collection}/subjects",
    summary="List subjects",
    responses=problems(*GALLERY, CollectionNotFound, CursorInvalid),
)
def list_subjects(
    services: ServicesDep,
    caller: Reader,
    collection: CollectionName,
    cursor: Cursor = None,
    limit: Limit = 100,
    prefix: Annotated[QueryName, Query(max_length=200, description="Only subjects whose name begins so.")] = "",
) -> Page[replies.Subject]:
    """Subjects of a collection, oldest first."""
    page = services.gallery.subjects(caller.require(collection), cursor, limit, prefix)
    items = [replies.Subject.model_validate(item) for item in page.items]
    return Page[replies.Subject](items=items, next_cursor=page.next_cursor)


@router.get(
    "/collections/{collection}/subjects/{subject}",
    summary="Read a subject",
    responses=problems(*GALLERY, CollectionNotFound, SubjectNotFound),
)
def read_subject(
    request: Request, services: ServicesDep, caller: Reader, collection: CollectionName, subject: SubjectName
) -> replies.Subject:
    """One subject."""
    person = services.gallery.subject(caller.require(collection), subject)
    context_of(request.scope).target = person.id
    return replies.Subject.model_validate(person)


@router.patch(
    "/collections/{collection}/subjects/{subject}",
    summary="Rename a subject, change its metadata, set its date",
    responses=problems(*GALLERY, *BODY, CollectionNotFound, SubjectNotFound, SubjectExists, NameInvalid),
    openapi_extra=takes(requests.SubjectRequest, forms=False),
)
def update_subject(
    request: Request,
    services: ServicesDep,
    caller: Enroller,
    collection: CollectionName,
    subject: SubjectName,
    fields: Annotated[requests.SubjectRequest, Depends(body(requests.SubjectRequest, forms=False))],
) -> replies.Subject:
    """Give a subject a new name, new metadata, a date at which it is erased, or several of them."""
    changed = services.gallery.update_subject(
        caller.require(collection), subject, fields.name, fields.metadata, fields.expiry
    )
    context_of(request.scope).target = changed.id
    return replies.Subject.model_validate(changed)


@router.delete(
    "/collections/{collection}/subjects/{subject}",
    summary="Erase a subject",
    responses=problems(*GALLERY, CollectionNotFound, SubjectNotFound, *ERASURE),
)
def delete_subject(
    request: Request, services: ServicesDep, caller: Eraser, collection: CollectionName, subject: SubjectName
) -> replies.Receipt:
    """Erase a subject with all faces and templates."""
    noting = services.noting(request, collection)
    receipt = services.gallery.delete_subject(caller.require(collection), subject, noting)
    return replies.Receipt.model_validate(receipt)


@router.post(
    "/collections/{collection}/subjects/{subject}/merge",
    summary="Make two people one",
    responses=problems(
        *GALLERY,
        *BODY,
        CollectionNotFound,
        SubjectNotFound,
        SamePerson,
        IdempotencyConflict,
        EnrolmentErased,
    ),
    openapi_extra=takes(requests.MergeRequest, forms=False),
)
def merge_subjects(
    request: Request,
    response: Response,
    services: ServicesDep,
    caller: Enroller,
    collection: CollectionName,
    subject: SubjectName,
    fields: Annotated[requests.MergeRequest, Depends(body(requests.MergeRequest, forms=False))],
    idempotency_key: IdempotencyKey = None,
) -> replies.MergedSubject:
    """Give all faces of another person to this one, and drop the other's record, in one step.

    Name, metadata and date of expiry stay those of this one. A replayed answer carries the header
    `Idempotency-Replayed: true`.
    """
    request_id = context_of(request.scope).request_id
    once = None
    if idempotency_key:
        fingerprint = hashlib.sha256(json.dumps(["merge", collection, subject, fields.other]).encode()).hexdigest()
        once = Idempotency(caller.principal, idempotency_key, fingerprint, request_id)
    work = partial(
        reassignment.merge_subjects,
        keyring=services.settings.storage.keyring,
        collection=caller.require(collection),
        subject=subject,
        other=fields.other,
        idempotency=once,
        until=now() + KEEP_REPLY,
    )
    merger = services.gallery.change(work)
    if merger.replayed:
        response.headers["Idempotency-Replayed"] = "true"
    else:
        services.publish(
            request, Reassignment("merge_subjects", merger.merged, merger.subject.id, merger.faces), collection
        )
    return replies.MergedSubject(
        subject=replies.Subject.model_validate(merger.subject),
        merged_id=merger.merged,
        faces=merger.faces,
        request_id=merger.request_id or request_id,
    )
