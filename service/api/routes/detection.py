"""Detect and embed: what an image shows, without deciding anything."""

from __future__ import annotations

from typing import Annotated

from fastapi import APIRouter, Depends, Request

from service.api.access import Verifier
from service.api.http.request_context import context_of
from service.api.route_declarations import BODY, CALLER, IMAGE, STORE, body, problems, takes
from service.api.schemas import faces, requests
from service.api.services import ServicesDep
from service.face.errors import ModelNotFound
from service.rollout.errors import ChampionUnavailable

router = APIRouter(prefix="/v1", tags=["detection"])


@router.post(
    "/detect",
    summary="Which faces does an image show?",
    responses=problems(*CALLER, *BODY, *IMAGE, *STORE),
    openapi_extra=takes(requests.DetectRequest),
)
async def detect(
    request: Request,
    services: ServicesDep,
    caller: Verifier,
    fields: Annotated[requests.DetectRequest, Depends(body(requests.DetectRequest))],
) -> faces.Detection:
    """Find faces, their landmarks and their quality, the most prominent face first. None is not an error."""
    result = await services.decide(request, lambda stages: services.engine.detect(fields.image, stages))
    return faces.Detection.of(result, context_of(request.scope).request_id)


@router.post(
    "/embed",
    summary="Templates of the faces of an image",
    responses=problems(*CALLER, *BODY, *IMAGE, *STORE, ModelNotFound, ChampionUnavailable),
    openapi_extra=takes(requests.EmbedRequest),
)
async def embed(
    request: Request,
    services: ServicesDep,
    caller: Verifier,
    fields: Annotated[requests.EmbedRequest, Depends(body(requests.EmbedRequest))],
) -> faces.Embedding:
    """Find faces and give back their templates: unit vectors, comparable within one model's space.

    The score of two is the inner product of their `embedding`s and both their `offset`s, added up. A template is
    biometric data: keep it as carefully as the image.
    """
    embedder = await services.embedder_for(request, fields.model)
    result = await services.decide(request, lambda stages: services.engine.embed(fields.image, embedder, stages))
    return faces.Embedding.of(result, context_of(request.scope).request_id)
