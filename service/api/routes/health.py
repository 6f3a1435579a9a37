"""Whether the service lives, whether it can answer, and how it is doing."""

from __future__ import annotations

from typing import Annotated

from fastapi import APIRouter, Depends, Header, Request, Response
from fastapi.security import HTTPAuthorizationCredentials
from prometheus_client import CollectorRegistry
from prometheus_client.exposition import choose_encoder

from service.api.access import Caller, allow, bearer, header
from service.api.http.errors import NotReady
from service.api.route_declarations import CALLER, STORE, problems
from service.api.schemas.health import Health
from service.api.services import Services, ServicesDep
from service.keys import Scope
from service.metrics import ReachableSeries
from service.version import VERSION

router = APIRouter(tags=["health"])
_identified = allow(Scope.READ)


async def reader(
    request: Request,
    services: ServicesDep,
    token: Annotated[HTTPAuthorizationCredentials | None, Depends(bearer)],
    plain: Annotated[str | None, Depends(header)],
) -> Caller | None:
    """Who reads the series: nobody known, where none needs to be; else a key that may read."""
    access = services.settings.access
    if access.metrics_public and not access.anonymous and token is None and plain is None:
        return None
    return await _identified(request, token, plain)


@router.head("/livez", include_in_schema=False)
@router.get("/livez", summary="Is the process alive?", responses=problems())
async def livez() -> Health:
    """Answers as long as the process serves requests at all."""
    return Health(status="alive", version=VERSION)


@router.head("/readyz", include_in_schema=False)
@router.get("/readyz", summary="Can the service answer?", responses=problems(NotReady))
async def readyz(services: ServicesDep) -> Health:
    """Runs every loaded model once and asks the gallery. At most once a second: in between, the last good answer."""
    await services.readiness.probe()
    return Health(status="ready", version=VERSION)


@router.get(
    "/metrics",
    summary="Series for Prometheus",
    response_class=Response,
    responses={200: {"content": {"text/plain": {}, "application/openmetrics-text": {}}}, **problems(*CALLER, *STORE)},
    openapi_extra={"security": [{}]},  # or none, where a setting says so
)
def metrics(
    services: ServicesDep, caller: Annotated[Caller | None, Depends(reader)], accept: Annotated[str, Header()] = ""
) -> Response:
    """All series, in the text format that the Accept header asks for. Collections beyond a key's reach are hidden."""
    encode, media_type = choose_encoder(accept)
    return Response(encode(_reachable(services, caller)), media_type=media_type)


def _reachable(services: Services, caller: Caller | None) -> CollectorRegistry | ReachableSeries:
    if caller is None:
        named = services.settings.access.metrics_collections
        return services.series if named else ReachableSeries(services.series, frozenset(), summed=True)
    if caller.collections is None:
        return services.series
    return ReachableSeries(services.series, caller.collections, summed=False)
