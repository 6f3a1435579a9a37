"""Whether the service lives, whether it can answer, and how it is doing."""

from __future__ import annotations

from typing import Annotated

from fastapi import APIRouter, Depends, Header, Response
from fastapi.params import Depends as DependsMarker
from prometheus_client.exposition import choose_encoder

from service.api.access import allow
from service.api.http.errors import NotReady
from service.api.route_declarations import STORE, problems
from service.api.schemas.health import Health
from service.api.services import ServicesDep
from service.keys import Scope
from service.version import VERSION

router = APIRouter(tags=["health"])
metrics_router = APIRouter(tags=["health"])
"""Apart, because a setting says whether it asks for a key."""


@router.head("/livez", include_in_schema=False)
@router.get("/livez", summary="Is the process alive?")
async def livez() -> Health:
    """Answers as long as the process serves requests at all."""
    return Health(status="alive", version=VERSION)


@router.head("/readyz", include_in_schema=False)
@router.get("/readyz", summary="Can the service answer?", responses=problems(NotReady))
async def readyz(services: ServicesDep) -> Health:
    """Runs every loaded model once and asks the gallery. At most once a second: in between, the last good answer."""
    await services.readiness.probe()
    return Health(status="ready", version=VERSION)


@metrics_router.get(
    "/metrics",
    summary="Series for Prometheus",
    response_class=Response,
    responses={200: {"content": {"text/plain": {}, "application/openmetrics-text": {}}}, **problems(*STORE)},
)
def metrics(services: ServicesDep, accept: Annotated[str, Header()] = "") -> Response:
    """All series, in the text format that the Accept header asks for."""
    encode, media_type = choose_encoder(accept)
    return Response(encode(services.series), media_type=media_type)


def metrics_access(public: bool) -> list[DependsMarker]:
    """Dependencies of /metrics: none, or a key that may read."""
    return [] if public else [Depends(allow(Scope.READ))]
