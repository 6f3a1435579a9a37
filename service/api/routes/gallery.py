"""Collections, subjects and their faces as resources."""

from __future__ import annotations

import hashlib
import json
from functools import partial
from typing import Annotated, Any

from fastapi import APIRouter, Depends, Path, Query, Request, Response

from service.api.access import Caller, allow
from service.api.http.errors import CollectionForbidden
from service.api.http.idempotency import IdempotencyKey
from service.api.http.pagination import Cursor, Limit
from service.api.http.request_context import trace_of
from service.api.route_declarations import BODY, CALLER, STORE, body, problems, takes
from service.api.schemas import gallery as replies
from service.api.schemas import requests
from service.api.schemas.reply import Page
from service.api.schemas.requests import QueryName
from service.api.services import Services, ServicesDep
from service.database import errors as database
from service.database.schema import now
from service.errors import FacetError
from service.gallery import errors as gallery
from service.gallery.changes import collections, reassignment
from service.gallery.changes.collections import Members, members_of
from service.gallery.gallery import KEEP_REPLY
from service.gallery.records import Collection, Idempotency
from service.keys import Scope
from service.observation import Reassignment

router = APIRouter(prefix="/v1", tags=["gallery"])

CollectionName = Annotated[str, Path(min_length=1, max_length=200, description="Name of the collection.")]
SubjectName = Annotated[str, Path(min_length=1, max_length=200, description="Name of the subject.")]
FaceId = Annotated[str, Path(min_length=1, max_length=64, description="Id of the face.")]

ERASING = (database.ErasureUnfinished,)
Reader = Annotated[Caller, Depends(allow(Scope.READ))]
Enroller = Annotated[Caller, Depends(allow(Scope.ENROL))]
Eraser = Annotated[Caller, Depends(allow(Scope.DELETE))]
Admin = Annotated[Caller, Depends(allow(Scope.ADMIN))]


def _problems(*errors: type[FacetError]) -> dict[int | str, dict[str, Any]]:
    return problems(*CALLER, *STORE, CollectionForbidden, *errors)


@router.get("/collections", summary="List collections", responses=_problems(database.CursorInvalid))
def list_collections(
    services: ServicesDep, caller: Reader, cursor: Cursor = None, limit: Limit = 100
) -> Page[replies.Collection]:
    """Collections that the key may touch, in the order of their making."""
    page = services.gallery.collections(cursor, limit, caller.collections)
    counts = services.gallery.database.read(partial(members_of, names=[item.name for item in page.items]))
    items = [replies.Collection.of(item, counts[item.name]) for item in page.items]
    return Page[replies.Collection](items=items, next_cursor=page.next_cursor)


@router.post(
    "/collections",
    status_code=201,
    summary="Make a collection",
    responses=_problems(*BODY, gallery.CollectionExists, gallery.NameInvalid),
    openapi_extra=takes(requests.CollectionRequest, forms=False),
)
def create_collection(
    request: Request,
    services: ServicesDep,
    caller: Admin,
    fields: Annotated[requests.CollectionRequest, Depends(body(requests.CollectionRequest, forms=False))],
) -> replies.Collection:
    """Make an empty collection."""
    trace_of(request.scope).target = fields.name
    trace_of(request.scope).collection = fields.name
    collection = services.gallery.create_collection(
        caller.require(fields.name), keep_crops=fields.keep_crops, metadata=fields.metadata, quality=fields.quality
    )
    return replies.Collection.of(collection, Members())


@router.get("/collections/{collection}", summary="Read a collection", responses=_problems(gallery.CollectionNotFound))
def read_collection(services: ServicesDep, caller: Reader, collection: CollectionName) -> replies.Collection:
    """One collection, and how many are enrolled in it."""
    return _counted(services, services.gallery.collection(caller.require(collection)))


@router.patch(
    "/collections/{collection}",
    summary="Change a collection",
    responses=_problems(*BODY, gallery.CollectionNotFound),
    openapi_extra=takes(requests.CollectionChanges, forms=False),
)
def update_collection(
    request: Request,
    services: ServicesDep,
    caller: Admin,
    collection: CollectionName,
    fields: Annotated[requests.CollectionChanges, Depends(body(requests.CollectionChanges, forms=False))],
) -> replies.Collection:
    """Change whether crops are kept, how unfit faces are treated, the metadata, or several of them.

    Who is enrolled already stays as they are: crops that are kept are kept, and those that are not cannot be made.
    """
    trace_of(request.scope).target = caller.require(collection)
    work = partial(collections.update_collection, name=collection, values=fields.values)
    return _counted(services, services.gallery.change(work))


@router.delete(
    "/collections/{collection}", summary="Erase a collection", responses=_problems(gallery.CollectionNotFound, *ERASING)
)
def delete_collection(
    request: Request, services: ServicesDep, caller: Admin, collection: CollectionName
) -> replies.Receipt:
    """Erase a collection with every subject, face and template in it."""
    noting = services.noting(request, collection)
    receipt = services.gallery.delete_collection(caller.require(collection), noting)
    return replies.Receipt.model_validate(receipt)


@router.get(
    "/collections/{collection}/subjects",
    summary="List subjects",
    responses=_problems(gallery.CollectionNotFound, database.CursorInvalid),
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
    responses=_problems(gallery.CollectionNotFound, gallery.SubjectNotFound),
)
def read_subject(
    request: Request, services: ServicesDep, caller: Reader, collection: CollectionName, subject: SubjectName
) -> replies.Subject:
    """One subject."""
    person = services.gallery.subject(caller.require(collection), subject)
    trace_of(request.scope).target = person.id
    return replies.Subject.model_validate(person)


@router.patch(
    "/collections/{collection}/subjects/{subject}",
    summary="Rename a subject, change its metadata, set its date",
    responses=_problems(
        *BODY, gallery.CollectionNotFound, gallery.SubjectNotFound, gallery.SubjectExists, gallery.NameInvalid
    ),
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
    trace_of(request.scope).target = changed.id
    return replies.Subject.model_validate(changed)


@router.delete(
    "/collections/{collection}/subjects/{subject}",
    summary="Erase a subject",
    responses=_problems(gallery.CollectionNotFound, gallery.SubjectNotFound, *ERASING),
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
    responses=_problems(
        *BODY,
        gallery.CollectionNotFound,
        gallery.SubjectNotFound,
        gallery.SamePerson,
        gallery.IdempotencyConflict,
        gallery.EnrolmentErased,
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
    request_id = trace_of(request.scope).request_id
    once = None
    if idempotency_key:
        told = hashlib.sha256(json.dumps(["merge", collection, subject, fields.other]).encode()).hexdigest()
        once = Idempotency(caller.principal, idempotency_key, told, request_id)
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


@router.get(
    "/collections/{collection}/subjects/{subject}/faces",
    summary="List the faces of a subject",
    responses=_problems(gallery.CollectionNotFound, gallery.SubjectNotFound, database.CursorInvalid),
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
    trace_of(request.scope).target = page.items[0].subject_id if page.items else None
    items = [replies.StoredFace.model_validate(item) for item in page.items]
    return Page[replies.StoredFace](items=items, next_cursor=page.next_cursor)


@router.get(
    "/collections/{collection}/faces/{face_id}",
    summary="Read a face",
    responses=_problems(gallery.CollectionNotFound, gallery.FaceNotFound),
)
def read_face(
    request: Request, services: ServicesDep, caller: Reader, collection: CollectionName, face_id: FaceId
) -> replies.StoredFace:
    """One enrolled face, without image and template."""
    face = services.gallery.face(caller.require(collection), face_id)
    trace_of(request.scope).target = face.subject_id
    return replies.StoredFace.model_validate(face)


@router.get(
    "/collections/{collection}/faces/{face_id}/crop",
    summary="Read the crop of a face",
    response_class=Response,
    responses={
        200: {"content": {"image/png": {"schema": {"type": "string", "format": "binary"}}}},
        **_problems(gallery.CollectionNotFound, gallery.FaceNotFound, gallery.CropMissing),
    },
)
def read_crop(
    request: Request, services: ServicesDep, caller: Reader, collection: CollectionName, face_id: FaceId
) -> Response:
    """The aligned face as it was kept at enrolment, a PNG of 128 by 128 pixels, where the collection keeps crops."""
    trace_of(request.scope).target = services.gallery.face(caller.require(collection), face_id).subject_id
    crop = services.gallery.crop(collection, face_id)
    if crop is None:
        raise gallery.CropMissing(collection, face_id)
    return Response(crop, media_type="image/png")


@router.patch(
    "/collections/{collection}/faces/{face_id}",
    summary="Give a face to another person",
    responses=_problems(*BODY, gallery.CollectionNotFound, gallery.FaceNotFound, gallery.NameInvalid),
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
    trace_of(request.scope).target = result.face.subject_id
    if result.moved:
        services.publish(request, Reassignment("move_face", result.origin, result.face.subject_id, 1), collection)
    return replies.StoredFace.model_validate(result.face)


@router.delete(
    "/collections/{collection}/faces/{face_id}",
    summary="Erase a face",
    responses=_problems(gallery.CollectionNotFound, gallery.FaceNotFound, *ERASING),
)
def delete_face(
    request: Request, services: ServicesDep, caller: Eraser, collection: CollectionName, face_id: FaceId
) -> replies.Receipt:
    """Erase one face with its templates; its subject stays."""
    noting = services.noting(request, collection)
    receipt = services.gallery.delete_face(caller.require(collection), face_id, noting)
    return replies.Receipt.model_validate(receipt)


@router.get("/receipts", summary="List receipts of erasures", responses=_problems(database.CursorInvalid))
def list_receipts(
    services: ServicesDep, caller: Admin, cursor: Cursor = None, limit: Limit = 100
) -> Page[replies.Receipt]:
    """Proofs of all erasures, oldest first."""
    page = services.gallery.receipts(cursor, limit, caller.collections)
    items = [replies.Receipt.model_validate(item) for item in page.items]
    return Page[replies.Receipt](items=items, next_cursor=page.next_cursor)


def _counted(services: Services, collection: Collection) -> replies.Collection:
    counts = services.gallery.database.read(partial(members_of, names=[collection.name]))
    return replies.Collection.of(collection, counts[collection.name])
