"""Enrolled faces as resources: read, with their crops, given to another person, erased."""

from __future__ import annotations

from functools import partial
from typing import Annotated

from fastapi import APIRouter, Depends, Request, Response

from service.api.access import Enroller, Eraser, Reader
from service.api.http.pagination import Cursor, Limit
from service.api.http.request_context import context_of
from service.api.route_declarations import (
    BODY,
    ERASURE,
    GALLERY,
    CollectionName,
    FaceId,
    SubjectName,
    body,
    problems,
    takes,
)
from service.api.schemas import gallery as replies
from service.api.schemas import requests
from service.api.schemas.reply import Page
from service.api.services import ServicesDep
from service.database.errors import CursorInvalid
from service.gallery.changes import reassignment
from service.gallery.errors import CollectionNotFound, CropMissing, FaceNotFound, NameInvalid, SubjectNotFound
from service.observation import Reassignment

router = APIRouter(prefix="/v1", tags=["gallery"])


@router.get(
    "/collections/{collection}/subjects/{subject}/faces",
    summary="List the faces of a subject",
    responses=problems(*GALLERY, CollectionNotFound, SubjectNotFound, CursorInvalid),
)
def list_faces(
    request: Request,
    services: ServicesDep,
    caller: Reader,
    collection: CollectionName,
    subject: SubjectName,
    cursor: Cursor = None,
    limit: Limit = 100,
) -> Page[replies.StoredFace]:
    """Faces of a subject, oldest first."""
    page = services.gallery.faces(caller.require(collection), subject, cursor, limit)
    context_of(request.scope).target = page.items[0].subject_id if page.items else None
    items = [replies.StoredFace.model_validate(item) for item in page.items]
    return Page[replies.StoredFace](items=items, next_cursor=page.next_cursor)


@router.get(
    "/collections/{collection}/faces/{face_id}",
    summary="Read a face",
    responses=problems(*GALLERY, CollectionNotFound, FaceNotFound),
)
def read_face(
    request: Request, services: ServicesDep, caller: Reader, collection: CollectionName, face_id: FaceId
) -> replies.StoredFace:
    """One enrolled face, without image and template."""
    face = services.gallery.face(caller.require(collection), face_id)
    context_of(request.scope).target = face.subject_id
    return replies.StoredFace.model_validate(face)


@router.get(
    "/collections/{collection}/faces/{face_id}/crop",
    summary="Read the crop of a face",
    response_class=Response,
    responses={
        200: {"content": {"image/png": {"schema": {"type": "string", "format": "binary"}}}},
        **problems(*GALLERY, CollectionNotFound, FaceNotFound, CropMissing),
    },
)
def read_crop(
    request: Request, services: ServicesDep, caller: Reader, collection: CollectionName, face_id: FaceId
) -> Response:
    """The aligned face as it was kept at enrolment, a PNG of 128 by 128 pixels, where the collection keeps crops."""
    context_of(request.scope).target = services.gallery.face(caller.require(collection), face_id).subject_id
    crop = services.gallery.crop(collection, face_id)
    if crop is None:
        raise CropMissing(collection, face_id)
    return Response(crop, media_type="image/png")


@router.patch(
    "/collections/{collection}/faces/{face_id}",
    summary="Give a face to another person",
    responses=problems(*GALLERY, *BODY, CollectionNotFound, FaceNotFound, NameInvalid),
    openapi_extra=takes(requests.FaceRequest, forms=False),
)
def move_face(
    request: Request,
    services: ServicesDep,
    caller: Enroller,
    collection: CollectionName,
    face_id: FaceId,
    fields: Annotated[requests.FaceRequest, Depends(body(requests.FaceRequest, forms=False))],
) -> replies.StoredFace:
    """Give a face, with templates and crop, to another person of the collection, who is made when new."""
    work = partial(
        reassignment.move_face,
        keyring=services.settings.storage.keyring,
        collection=caller.require(collection),
        face_id=face_id,
        subject=fields.subject,
    )
    result = services.gallery.change(work)
    context_of(request.scope).target = result.face.subject_id
    if result.moved:
        services.publish(request, Reassignment("move_face", result.origin, result.face.subject_id, 1), collection)
    return replies.StoredFace.model_validate(result.face)


@router.delete(
    "/collections/{collection}/faces/{face_id}",
    summary="Erase a face",
    responses=problems(*GALLERY, CollectionNotFound, FaceNotFound, *ERASURE),
)
def delete_face(
    request: Request, services: ServicesDep, caller: Eraser, collection: CollectionName, face_id: FaceId
) -> replies.Receipt:
    """Erase one face with its templates; its subject stays."""
    noting = services.noting(request, collection)
    receipt = services.gallery.delete_face(caller.require(collection), face_id, noting)
    return replies.Receipt.model_validate(receipt)
