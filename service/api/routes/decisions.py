"""Enrol, verify, identify."""

from __future__ import annotations

from functools import partial
from typing import Annotated

from fastapi import APIRouter, BackgroundTasks, Depends, Header, Request, Response

from service.api.http.auth import Caller, allow
from service.api.http.declarations import BODY, CALLER, IMAGE, STORE, body, problems, takes
from service.api.http.errors import CollectionForbidden
from service.api.http.request_context import trace_of
from service.api.observers import choose_model, note_enrolment, note_identification, note_verification
from service.api.schemas import replies, requests
from service.api.services import ServicesDep
from service.engine import EnrolmentOutcome, EnrolmentRefused, SubjectRef
from service.face import errors as face
from service.gallery import errors as gallery
from service.gallery.records import Idempotency
from service.keys import Scope
from service.rollout.challenger_result import sample_identification, sample_verification
from service.rollout.errors import ChampionUnavailable
from service.timing import Stages

router = APIRouter(prefix="/v1", tags=["decisions"])

DECIDING = (
    face.ModelNotFound,
    ChampionUnavailable,
    face.ThresholdUnsupported,
    face.SpaceMismatch,
    gallery.TemplateMissing,
    CollectionForbidden,
    gallery.CollectionNotFound,
)
CHOOSING = (face.NoFace, face.SeveralFaces, face.FaceUnfit)

IdempotencyKey = Annotated[
    str | None,
    Header(
        min_length=1,
        max_length=200,
        pattern=r"^[\x21-\x7e]+$",
        description="Names this enrolment, a UUID say. A repetition within a day gets the first answer and enrols "
        "nothing; the same key with another request is refused.",
    ),
]


@router.post(
    "/verify",
    summary="Do two faces belong to one person?",
    responses=problems(*CALLER, *BODY, *IMAGE, *DECIDING, *CHOOSING, *STORE, gallery.SubjectNotFound),
    openapi_extra=takes(requests.VerifyRequest),
)
async def verify(
    request: Request,
    services: ServicesDep,
    caller: Annotated[Caller, Depends(allow(Scope.VERIFY))],
    asked: Annotated[requests.VerifyRequest, Depends(body(requests.VerifyRequest))],
    afterwards: BackgroundTasks,
) -> replies.Verification:
    """Compare a probe image with a reference image, or with the faces of a stored subject."""
    collection: str | None = None
    if asked.reference is not None:
        reference: bytes | SubjectRef = asked.reference
    else:
        collection = caller.require(asked.collection or requests.DEFAULT_COLLECTION)
        reference = SubjectRef(collection, asked.subject or "")
    choose_model(request, services, asked.model, collection or "")
    result = await services.perform(
        request,
        lambda stages: services.engine.verify(
            asked.probe, reference, asked.ask, stages, faces=asked.faces, quality=asked.quality
        ),
    )
    note_verification(request, services, caller, result, collection)
    request_id = trace_of(request.scope).request_id
    sample = partial(sample_verification, request_id, asked.ask, result, collection, asked.subject)
    afterwards.add_task(services.shadow.offer, result.model, sample)
    if collection is not None:
        offer = services.sightings.offer_verification
        afterwards.add_task(offer, request_id, caller.principal, collection, result)
    return replies.Verification.of(result, request_id)


@router.post(
    "/identify",
    summary="Who is this?",
    responses=problems(*CALLER, *BODY, *IMAGE, *DECIDING, *CHOOSING, *STORE),
    openapi_extra=takes(requests.IdentifyRequest),
)
async def identify(
    request: Request,
    services: ServicesDep,
    caller: Annotated[Caller, Depends(allow(Scope.IDENTIFY))],
    asked: Annotated[requests.IdentifyRequest, Depends(body(requests.IdentifyRequest))],
    afterwards: BackgroundTasks,
) -> replies.Identification:
    """Search a collection. The threshold follows its size: `fmr` is the rate at which a stranger matches anybody."""
    collection = caller.require(asked.collection)
    choose_model(request, services, asked.model, collection)
    result = await services.perform(
        request,
        lambda stages: services.engine.identify(
            collection, asked.image, asked.ask, stages, asked.top_k, faces=asked.faces, quality=asked.quality
        ),
    )
    note_identification(request, services, caller, result, collection)
    request_id = trace_of(request.scope).request_id
    if result.faces:
        sample = partial(sample_identification, request_id, asked.ask, result, collection, asked.top_k)
        afterwards.add_task(services.shadow.offer, result.model, sample)
        offer = services.sightings.offer_identification
        afterwards.add_task(offer, request_id, caller.principal, collection, result)
    return replies.Identification.of(result, collection, request_id)


@router.post(
    "/enroll",
    status_code=201,
    summary="Enrol a person",
    response_model=replies.Enrollment,
    responses=problems(
        *CALLER,
        *BODY,
        *DECIDING,
        *STORE,
        EnrolmentRefused,
        gallery.DuplicateSubject,
        gallery.IdempotencyConflict,
        gallery.NameInvalid,
    ),
    openapi_extra=takes(requests.EnrollRequest),
)
async def enroll(
    request: Request,
    services: ServicesDep,
    caller: Annotated[Caller, Depends(allow(Scope.ENROL))],
    asked: Annotated[requests.EnrollRequest, Depends(body(requests.EnrollRequest))],
    idempotency_key: IdempotencyKey = None,
) -> Response:
    """Add faces to a person, who is made when new. The answer comes once they are on disk and found by searches.

    A replayed answer carries the header `Idempotency-Replayed: true`.
    """
    collection = caller.require(asked.collection)
    choose_model(request, services, asked.model, collection)
    request_id = trace_of(request.scope).request_id

    def reply(outcome: EnrolmentOutcome) -> str:
        return replies.Enrollment.of(outcome, request_id).model_dump_json()

    def work(stages: Stages) -> tuple[str, bool]:
        once = Idempotency(caller.principal, idempotency_key, asked.fingerprint()) if idempotency_key else None
        if once is not None and (kept := services.gallery.replay(once)) is not None:
            return kept, True
        outcome = services.engine.enroll(
            collection,
            asked.subject,
            asked.images,
            asked.ask,
            stages,
            reply,
            metadata=asked.metadata,
            duplicate=asked.duplicate,
            idempotency=once,
            faces=asked.faces,
            quality=asked.quality,
        )
        note_enrolment(request, services, caller, outcome.images, collection)
        return outcome.enrolment.reply, outcome.enrolment.replayed

    text, replayed = await services.perform(request, work)
    headers = {"Idempotency-Replayed": "true"} if replayed else None
    return Response(text, 201, headers, "application/json")
