"""Collections as resources, and the receipts of what was erased."""

from __future__ import annotations

from functools import partial
from typing import Annotated

from fastapi import APIRouter, Depends, Request

from service.api.access import Admin, Reader
from service.api.http.pagination import Cursor, Limit
from service.api.http.request_context import context_of
from service.api.route_declarations import BODY, ERASURE, GALLERY, CollectionName, body, problems, takes
from service.api.schemas import gallery as replies
from service.api.schemas import requests
from service.api.schemas.reply import Page
from service.api.services import Services, ServicesDep
from service.database.errors import CursorInvalid
from service.gallery.changes import collections
from service.gallery.changes.collections import Members, members_of
from service.gallery.errors import CollectionExists, CollectionNotFound, NameInvalid
from service.gallery.records import Collection

router = APIRouter(prefix="/v1", tags=["gallery"])


@router.get("/collections", summary="List collections", responses=problems(*GALLERY, CursorInvalid))
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
    responses=problems(*GALLERY, *BODY, CollectionExists, NameInvalid),
    openapi_extra=takes(requests.CollectionRequest, forms=False),
)
def create_collection(
    request: Request,
    services: ServicesDep,
    caller: Admin,
    fields: Annotated[requests.CollectionRequest, Depends(body(requests.CollectionRequest, forms=False))],
) -> replies.Collection:
    """Make an empty collection."""
    context_of(request.scope).target = fields.name
    context_of(request.scope).collection = fields.name
    collection = services.gallery.create_collection(
        caller.require(fields.name), keep_crops=fields.keep_crops, metadata=fields.metadata, quality=fields.quality
    )
    return replies.Collection.of(collection, Members())


@router.get("/collections/{collection}", summary="Read a collection", responses=problems(*GALLERY, CollectionNotFound))
def read_collection(services: ServicesDep, caller: Reader, collection: CollectionName) -> replies.Collection:
    """One collection, and how many are enrolled in it."""
    return _counted(services, services.gallery.collection(caller.require(collection)))


@router.patch(
    "/collections/{collection}",
    summary="Change a collection",
    responses=problems(*GALLERY, *BODY, CollectionNotFound),
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
    context_of(request.scope).target = caller.require(collection)
    work = partial(collections.update_collection, name=collection, values=fields.values)
    return _counted(services, services.gallery.change(work))


@router.delete(
    "/collections/{collection}",
    summary="Erase a collection",
    responses=problems(*GALLERY, CollectionNotFound, *ERASURE),
)
def delete_collection(
    request: Request, services: ServicesDep, caller: Admin, collection: CollectionName
) -> replies.Receipt:
    """Erase a collection with every subject, face and template in it."""
    noting = services.noting(request, collection)
    receipt = services.gallery.delete_collection(caller.require(collection), noting)
    return replies.Receipt.model_validate(receipt)


@router.get("/receipts", summary="List receipts of erasures", responses=problems(*GALLERY, CursorInvalid))
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
