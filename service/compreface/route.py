"""What all routes of CompreFace's API share: their class, and who may ask them in which collection."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Coroutine
from dataclasses import dataclass
from typing import Annotated, Any

from fastapi import APIRouter, Depends, Request, Response
from fastapi.routing import APIRoute
from fastapi.security import HTTPAuthorizationCredentials

from service.api.access import Caller, allow, bearer, header
from service.api.http.errors import CollectionForbidden
from service.api.http.request_context import context_of
from service.api.services import services_of
from service.compreface.errors import respond
from service.keys import Scope


class CompreFaceRoute(APIRoute):
    """A route that answers every error as CompreFace does."""

    def get_route_handler(self) -> Callable[[Request], Coroutine[Any, Any, Response]]:
        """The route's handler, with its errors answered."""
        handle = super().get_route_handler()

        async def answer(request: Request) -> Response:
            try:
                return await handle(request)
            except Exception as error:
                return respond(request, error)

        return answer


def router_of(tag: str) -> APIRouter:
    """A router of such routes."""
    return APIRouter(prefix="/api/v1", route_class=CompreFaceRoute, tags=[tag])


@dataclass(frozen=True, slots=True)
class Service:
    """A caller, and the one collection that stands for its CompreFace service."""

    caller: Caller
    collection: str


def serves(scope: Scope) -> Callable[..., Awaitable[Service]]:
    """A dependency that lets in keys with `scope`, and finds their collection.

    A key that is limited to one collection serves that. Any other serves the one that a setting names, if it may.
    """
    allowed = allow(scope, unknown_query=True)

    async def find(
        request: Request,
        token: Annotated[HTTPAuthorizationCredentials | None, Depends(bearer)],
        plain: Annotated[str | None, Depends(header)],
    ) -> Service:
        caller = await allowed(request, token, plain)
        collection = _collection_of(caller, services_of(request).settings.compreface.collection)
        context_of(request.scope).collection = collection
        return Service(caller, collection)

    return find


def _collection_of(caller: Caller, named: str) -> str:
    if caller.collections is not None and len(caller.collections) == 1:
        return next(iter(caller.collections))
    if not caller.reaches(named):
        raise CollectionForbidden(
            "this key reaches several collections, and none of them is FACET_COMPREFACE_COLLECTION: use a key that is "
            "limited to one"
        )
    return named
