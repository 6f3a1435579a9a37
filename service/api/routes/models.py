"""The models: what they are, what they may be used for, and at which rates they decide."""

from __future__ import annotations

from typing import Annotated

from fastapi import APIRouter, Depends, Path, Request
from fastapi.responses import PlainTextResponse

from service.api.access import Caller, allow, everywhere
from service.api.http.errors import CollectionForbidden
from service.api.route_declarations import CALLER, STORE, problems
from service.api.schemas import models as replies
from service.api.services import Services, ServicesDep
from service.face.errors import ModelNotFound
from service.face.manifest import Manifest
from service.face.registry import ModelFolder
from service.observation import ModelsChange
from service.rollout.errors import ModelInUse, ModelRefused

router = APIRouter(prefix="/v1", tags=["models"])

ModelName = Annotated[str, Path(min_length=1, max_length=80, description="`name` or `name@version`.")]
Anyone = Annotated[Caller, Depends(allow(None))]
Admin = Annotated[Caller, Depends(everywhere)]


@router.get("/models", summary="List models", responses=problems(*CALLER, *STORE))
def list_models(services: ServicesDep, caller: Anyone) -> replies.ModelList:
    """Every model that the service knows, with its manifest. Those loaded answer requests."""
    return replies.ModelList(items=[_described(services, folder) for folder in services.registry.folders()])


@router.get("/models/{name}", summary="Read a model", responses=problems(*CALLER, *STORE, ModelNotFound))
def read_model(services: ServicesDep, caller: Anyone, name: ModelName) -> replies.Model:
    """One model with its manifest: licence, origin, cost, measured results and calibrated thresholds."""
    return _described(services, services.registry.find(name))


@router.get(
    "/models/{name}/card",
    summary="Read a model's card",
    response_class=PlainTextResponse,
    responses={200: {"content": {"text/markdown": {}}}, **problems(*CALLER, *STORE, ModelNotFound)},
)
def read_card(services: ServicesDep, caller: Anyone, name: ModelName) -> PlainTextResponse:
    """The model card, for people, in Markdown."""
    return PlainTextResponse(services.registry.find(name).card(), media_type="text/markdown")


@router.post(
    "/models/{name}/load",
    summary="Load a model",
    responses=problems(*CALLER, *STORE, CollectionForbidden, ModelNotFound, ModelRefused),
)
def load_model(request: Request, services: ServicesDep, caller: Admin, name: ModelName) -> replies.Model:
    """Load an embedder from its folder, run it once, and let it answer. Every replica follows within seconds.

    Requests go on meanwhile; people enrolled from here on get its templates too.
    """
    return _publish(request, services, "load_model", services.model_loading.load(caller.principal, name))


@router.post(
    "/models/{name}/unload",
    summary="Unload a model",
    responses=problems(*CALLER, *STORE, CollectionForbidden, ModelNotFound, ModelInUse),
)
def unload_model(request: Request, services: ServicesDep, caller: Admin, name: ModelName) -> replies.Model:
    """Let an embedder answer no further requests. Every replica follows within seconds.

    Requests that it answers end with it, and its templates stay. Refused while it has a role.
    """
    return _publish(request, services, "unload_model", services.model_loading.unload(caller.principal, name))


def _publish(request: Request, services: Services, action: str, manifest: Manifest) -> replies.Model:
    services.publish(request, ModelsChange(action, manifest.sha256))
    return _described(services, services.registry.find(manifest.identity))


def _described(services: Services, folder: ModelFolder) -> replies.Model:
    models, manifest = services.engine.models, folder.manifest
    embedder = models.by_digest(manifest.sha256)
    return replies.Model(
        loaded=embedder is not None or models.detector.manifest.sha256 == manifest.sha256,
        default=manifest.sha256 == services.roles.current().champion,
        supported_fmr=[row.fmr for row in manifest.thresholds],
        provider=models.provider_of(manifest.sha256),
        score=manifest.computed_score,
        manifest=manifest,
    )
