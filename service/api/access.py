"""Who is asking, and whether they may. Keys come in headers only."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterator
from dataclasses import dataclass
from typing import Annotated

import anyio.to_thread
from fastapi import Depends, Request
from fastapi.dependencies.models import Dependant
from fastapi.security import APIKeyHeader, HTTPAuthorizationCredentials, HTTPBearer

from service.api.http.errors import CollectionForbidden, Fault, KeyInQuery, KeyRequired, RequestInvalid, ScopeMissing
from service.api.http.request_context import context_of
from service.api.services import Services, services_of
from service.keys import SHAPE, Key, Scope

QUERY_NAMES = frozenset({"key", "api_key", "apikey", "api-key", "x-api-key", "token", "access_token", "authorization"})

bearer = HTTPBearer(auto_error=False, scheme_name="bearer", description="`Authorization: Bearer facet_<id>_<secret>`")
header = APIKeyHeader(name="X-API-Key", auto_error=False, scheme_name="api_key", description="The same key, bare.")


@dataclass(frozen=True, slots=True)
class Caller:
    """Who asks: a key, or nobody known. `principal` names them in the audit log and in idempotency."""

    principal: str
    key: Key | None

    @property
    def collections(self) -> frozenset[str] | None:
        """The collections that the caller is limited to; None for all."""
        return None if self.key is None else self.key.collections

    def may_know(self, principal: str) -> bool:
        """Whether the caller may know who `principal` is: itself, or anybody to an admin of all collections."""
        unlimited = self.key is None or (self.key.may(Scope.ADMIN) and self.collections is None)
        return unlimited or principal == self.principal

    def require(self, collection: str) -> str:
        """Give back `collection`. Raises: CollectionForbidden when the key may not touch it."""
        if not self.reaches(collection):
            raise CollectionForbidden(f"this key may not touch the collection {collection!r}")
        return collection

    def reaches(self, collection: str) -> bool:
        """Whether the caller may touch `collection`."""
        return self.key is None or self.key.reaches(collection)


def allow(scope: Scope | None, unknown_query: bool = False) -> Callable[..., Awaitable[Caller]]:
    """A dependency that lets in callers with `scope`; None lets in every valid key.

    With `unknown_query` parameters that the address does not have are overlooked.
    """

    async def check(
        request: Request,
        token: Annotated[HTTPAuthorizationCredentials | None, Depends(bearer)],
        plain: Annotated[str | None, Depends(header)],
    ) -> Caller:
        services = services_of(request)
        _refuse_keys_in_query(request)
        caller = await _identify(request, services, token.credentials if token else plain)
        context_of(request.scope).principal = caller.principal
        services.rate.spend(caller.principal)
        if scope is not None and caller.key is not None and not caller.key.may(scope):
            raise ScopeMissing(f"this key lacks the scope {scope.value!r}")
        if not unknown_query:
            _refuse_unknown_query(request)
        return caller

    return check


Reader = Annotated[Caller, Depends(allow(Scope.READ))]
Enroller = Annotated[Caller, Depends(allow(Scope.ENROL))]
Verifier = Annotated[Caller, Depends(allow(Scope.VERIFY))]
Identifier = Annotated[Caller, Depends(allow(Scope.IDENTIFY))]
Eraser = Annotated[Caller, Depends(allow(Scope.DELETE))]
Admin = Annotated[Caller, Depends(allow(Scope.ADMIN))]


def everywhere(caller: Admin) -> Caller:
    """An admin of all collections: models and their roles concern every one. Raises: CollectionForbidden."""
    if caller.collections is not None:
        raise CollectionForbidden("models and their roles concern every collection, and this key is limited to some")
    return caller


async def _identify(request: Request, services: Services, text: str | None) -> Caller:
    if text is not None:
        shape = SHAPE.fullmatch(text)
        context_of(request.scope).key = "" if shape is None else shape.group(1)
        key = services.keys.recall(text) if services.keys.quick else None
        if key is None:  # the first time it takes a hash, or the database lies elsewhere
            key = await anyio.to_thread.run_sync(services.keys.verify, text, _address_of(request))
        return Caller(f"key:{key.id}", key)
    if services.settings.access.anonymous:
        return Caller(f"address:{_address_of(request)}", None)
    raise KeyRequired("send a key: `Authorization: Bearer <key>` or `X-API-Key: <key>`; `facet keys create` makes one")


def _address_of(request: Request) -> str:
    return request.client.host if request.client else "unknown"


def _refuse_keys_in_query(request: Request) -> None:
    if not request.scope["query_string"]:
        return
    for name, value in request.query_params.multi_items():
        if name.lower() in QUERY_NAMES or SHAPE.search(value):
            raise KeyInQuery(
                "a key in an address ends up in logs and histories: send it in a header, and revoke this one"
            )


def _refuse_unknown_query(request: Request) -> None:
    """A misplaced `?fmr=` that was silently ignored would decide at another rate than the caller believes."""
    if not request.scope["query_string"]:
        return
    known = set(_query_names(request.scope["route"].dependant))
    if unknown := sorted(set(request.query_params) - known):
        raise RequestInvalid([Fault(f"query.{name}"[:100], "is not a parameter of this address") for name in unknown])


def _query_names(dependant: Dependant) -> Iterator[str]:
    """Parameters that a route reads itself or through what it depends on."""
    yield from (field.alias for field in dependant.query_params)
    for part in dependant.dependencies:
        yield from _query_names(part)
