"""A model's templates for people who are enrolled already: how far they reach, made from kept crops, dropped."""

from __future__ import annotations

from typing import Annotated, Any

from fastapi import APIRouter, Depends, Path, Query, Request

from service.api.access import Admin, Caller, Reader
from service.api.http.errors import CollectionForbidden
from service.api.http.pagination import Cursor, Limit
from service.api.route_declarations import BODY, CALLER, STORE, body, problems, takes
from service.api.schemas import backfill as replies
from service.api.schemas import requests
from service.api.schemas.gallery import Receipt
from service.api.schemas.models import ModelRef
from service.api.schemas.reply import Page
from service.api.schemas.requests import QueryName
from service.api.services import Services, ServicesDep
from service.database.errors import CursorInvalid, ErasureUnfinished
from service.errors import FacetError
from service.face.errors import ModelNotFound
from service.gallery.errors import CollectionNotFound
from service.observation import TemplatesChange
from service.rollout.backfill.errors import ReembeddingEnded, ReembeddingNotFound, ReembeddingRunning, TemplatesNeeded
from service.rollout.backfill.jobs import Job
from service.rollout.errors import CoverageMissing

router = APIRouter(prefix="/v1", tags=["comparison"])

ModelName = Annotated[str, Path(min_length=1, max_length=80, description="`name` or `name@version`.")]
JobId = Annotated[str, Path(min_length=1, max_length=64, description="Id of the job.")]


def _problems(*errors: type[FacetError]) -> dict[int | str, dict[str, Any]]:
    return problems(*CALLER, *STORE, *errors)


@router.get("/models/{name}/coverage", summary="See whom a model can find", responses=_problems(ModelNotFound))
def read_coverage(services: ServicesDep, caller: Reader, name: ModelName) -> replies.Coverage:
    """How many enrolled faces a model reaches, collection by collection, and how the others could be reached."""
    manifest = services.registry.find(name).manifest
    coverage = services.reembeddings.coverage(manifest, caller.collections)
    items = [replies.CollectionCoverage.model_validate(each) for each in coverage]
    return replies.Coverage(model=ModelRef.of(manifest), collections=items)


@router.delete(
    "/models/{name}/templates",
    summary="Drop a model's templates",
    responses=_problems(
        ModelNotFound, CollectionForbidden, CollectionNotFound, TemplatesNeeded, CoverageMissing, ErasureUnfinished
    ),
)
def drop_templates(
    request: Request,
    services: ServicesDep,
    caller: Admin,
    name: ModelName,
    collection: Annotated[QueryName | None, Query(max_length=200, description="Only in this collection.")] = None,
) -> Receipt:
    """Remove every template of a model that is no longer needed.

    People and faces stay, and this cannot be undone: a rollback to a model that then lacks templates is refused.

    Refused while the champion searches these templates. Unload the model, or new enrolments go on making them.
    """
    _reach(caller, collection)
    digest = services.registry.find(name).manifest.sha256
    receipt = services.reembeddings.drop(digest, collection)
    services.engine.references.forget()
    services.publish(request, TemplatesChange("drop_templates", digest), collection)
    services.gallery.erase_traces()
    return Receipt.model_validate(receipt)


@router.post(
    "/reembeddings",
    status_code=202,
    summary="Make templates from kept crops",
    responses=_problems(*BODY, ModelNotFound, CollectionForbidden, CollectionNotFound, ReembeddingRunning),
    openapi_extra=takes(requests.ReembeddingRequest, forms=False),
)
def start_reembedding(
    request: Request,
    services: ServicesDep,
    caller: Admin,
    fields: Annotated[requests.ReembeddingRequest, Depends(body(requests.ReembeddingRequest, forms=False))],
) -> replies.Reembedding:
    """Begin to make a loaded model's templates in the background, for faces that lack one and whose crop is kept.

    It goes on after a restart. Requests go first, and all are answered as before until the model is promoted.
    """
    _reach(caller, fields.collection)
    rate = fields.rate or services.settings.rollout.reembed_rate
    job = services.reembeddings.start(caller.principal, fields.model, fields.collection, rate)
    services.reembedder.wake()
    services.publish(request, TemplatesChange("reembed", job.model), fields.collection)
    return _render(services, caller, job)


@router.get("/reembeddings", summary="List jobs", responses=_problems(CursorInvalid))
def list_reembeddings(
    services: ServicesDep,
    caller: Reader,
    cursor: Cursor = None,
    limit: Limit = 100,
) -> Page[replies.Reembedding]:
    """Jobs with their progress, the newest first."""
    page = services.reembeddings.jobs(cursor, limit, caller.collections)
    items = [_render(services, caller, job) for job in page.items]
    return Page[replies.Reembedding](items=items, next_cursor=page.next_cursor)


@router.get("/reembeddings/{job_id}", summary="Read a job", responses=_problems(ReembeddingNotFound))
def read_reembedding(services: ServicesDep, caller: Reader, job_id: JobId) -> replies.Reembedding:
    """One job with its progress."""
    job = _own(services, caller, job_id)
    return _render(services, caller, job)


@router.delete(
    "/reembeddings/{job_id}",
    summary="Cancel a job",
    responses=_problems(ReembeddingNotFound, ReembeddingEnded),
)
def cancel_reembedding(services: ServicesDep, caller: Admin, job_id: JobId) -> replies.Reembedding:
    """End a job. The templates it made stay; a new job goes on with the faces that are left."""
    _own(services, caller, job_id)
    return _render(services, caller, services.reembeddings.cancel(job_id))


def _own(services: Services, caller: Caller, job_id: str) -> Job:
    """Find a job. Raises: ReembeddingNotFound, also for one that the key may not know of."""
    job = services.reembeddings.job(job_id)
    if caller.collections is not None and job.collection not in caller.collections:
        raise ReembeddingNotFound(job_id)
    return job


def _reach(caller: Caller, collection: str | None) -> None:
    """Raises: CollectionForbidden when the key may not touch the collection, or not all of them where none is named."""
    if collection is not None:
        caller.require(collection)
    elif caller.collections is not None:
        raise CollectionForbidden("this concerns every collection, and this key is limited to some: name one")


def _render(services: Services, caller: Caller, job: Job) -> replies.Reembedding:
    return replies.Reembedding.of(job, services.engine.models, named=caller.may_know(job.principal))
