"""Enrol, verify, identify."""

from __future__ import annotations

from typing import Annotated

from fastapi import APIRouter, Depends, Request, Response

from service.api.access import Enroller, Identifier, Verifier
from service.api.http.errors import CollectionForbidden
from service.api.http.idempotency import IdempotencyKey
from service.api.http.request_context import context_of
from service.api.route_declarations import BODY, CALLER, IMAGE, STORE, body, problems, takes
from service.api.schemas import decisions, requests
from service.api.services import ServicesDep
from service.engine.results import EnrolmentOutcome, EnrolmentRefused, Repetition, SubjectRef
from service.face import errors as face
from service.gallery import errors as gallery
from service.gallery.records import Idempotency, KeptReply
from service.rollout.errors import ChampionUnavailable
from service.runtime.timing import Stages

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


@router.post(
    "/verify",
    summary="Do two faces belong to one person?",
    responses=problems(*CALLER, *BODY, *IMAGE, *DECIDING, *CHOOSING, *STORE, gallery.SubjectNotFound),
    openapi_extra=takes(requests.VerifyRequest),
)
async def verify(
    request: Request,
    services: ServicesDep,
    caller: Verifier,
    fields: Annotated[requests.VerifyRequest, Depends(body(requests.VerifyRequest))],
) -> decisions.Verification:
    """Compare a probe image with a reference image, or with the faces of a stored subject."""
    collection = ""
    if fields.reference is not None:
        reference: bytes | SubjectRef = fields.reference
    else:
        collection = caller.require(fields.collection or requests.DEFAULT_COLLECTION)
        reference = SubjectRef(collection, fields.subject or "")
    embedder = await services.embedder_for(request, fields.model, collection)
    result = await services.decide(
        request,
        lambda stages: services.engine.verify(
            fields.probe,
            reference,
            embedder,
            fields.point,
            stages,
            faces=fields.faces,
            quality=fields.quality,
            reference_faces=fields.reference_faces,
            reference_quality=fields.reference_quality,
        ),
    )
    return decisions.Verification.of(result, context_of(request.scope).request_id)


@router.post(
    "/identify",
    summary="Who is this?",
    responses=problems(*CALLER, *BODY, *IMAGE, *DECIDING, *CHOOSING, *STORE),
    openapi_extra=takes(requests.IdentifyRequest),
)
async def identify(
    request: Request,
    services: ServicesDep,
    caller: Identifier,
    fields: Annotated[requests.IdentifyRequest, Depends(body(requests.IdentifyRequest))],
) -> decisions.Identification:
    """Search a collection. The threshold follows its size: `fmr` is the rate at which a stranger matches anybody."""
    collection = caller.require(fields.collection)
    embedder = await services.embedder_for(request, fields.model, collection)
    result = await services.decide(
        request,
        lambda stages: services.engine.identify(
            collection,
            fields.image,
            embedder,
            fields.point,
            stages,
            fields.top_k,
            faces=fields.faces,
            quality=fields.quality,
        ),
    )
    return decisions.Identification.of(result, context_of(request.scope).request_id)


@router.post(
    "/enroll",
    status_code=201,
    summary="Enrol a person",
    response_model=decisions.Enrollment,
    responses=problems(
        *CALLER,
        *BODY,
        *DECIDING,
        *STORE,
        EnrolmentRefused,
        gallery.DuplicateSubject,
        gallery.EnrolmentErased,
        gallery.IdempotencyConflict,
        gallery.NameInvalid,
    ),
    openapi_extra=takes(requests.EnrollRequest),
)
async def enroll(
    request: Request,
    services: ServicesDep,
    caller: Enroller,
    fields: Annotated[requests.EnrollRequest, Depends(body(requests.EnrollRequest))],
    idempotency_key: IdempotencyKey = None,
) -> Response:
    """Add faces to a person, who is made when new. The answer comes once they are on disk and found by searches.

    A replayed answer carries the header `Idempotency-Replayed: true`.
    """
    collection = caller.require(fields.collection)
    embedder = await services.embedder_for(request, fields.model, collection)
    request_id = context_of(request.scope).request_id

    def work(stages: Stages) -> EnrolmentOutcome | Repetition | KeptReply:
        once = None
        if idempotency_key:
            once = Idempotency(caller.principal, idempotency_key, fields.fingerprint(), request_id)
        return services.engine.enroll(
            collection,
            fields.subject,
            fields.images,
            embedder,
            fields.point,
            stages,
            metadata=fields.metadata,
            expires_at=fields.expires_at,
            duplicate=fields.duplicate,
            idempotency=once,
            faces=fields.faces,
            quality=fields.quality,
        )

    outcome = await services.decide(request, work)
    repeated = not isinstance(outcome, EnrolmentOutcome)
    if isinstance(outcome, KeptReply):
        text = outcome.text
    else:
        text = decisions.Enrollment.of(outcome, request_id).model_dump_json()
    headers = {"Idempotency-Replayed": "true"} if repeated else None
    return Response(text, 201, headers, "application/json")
