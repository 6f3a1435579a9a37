"""Faces of subjects: enrolled, listed, shown, erased."""

from __future__ import annotations

from functools import partial
from typing import Annotated

from fastapi import Depends, Query, Request, Response

from service.api.http.request_context import context_of
from service.api.route_declarations import body
from service.api.schemas.requests import Name, QueryName
from service.api.services import ServicesDep
from service.compreface import replies
from service.compreface.requests import MAX_PAGE, FaceIdsRequest, FileRequest, Options, options
from service.compreface.route import Service, router_of, serves
from service.decision import OperatingPoint
from service.engine.results import EnrolmentOutcome
from service.gallery import queries
from service.keys import Scope
from service.runtime.timing import Stages

router = router_of("faces")

Reader = Annotated[Service, Depends(serves(Scope.READ))]
Enroller = Annotated[Service, Depends(serves(Scope.ENROL))]
Eraser = Annotated[Service, Depends(serves(Scope.DELETE))]


@router.post("/recognition/faces/", status_code=201, include_in_schema=False)
@router.post("/recognition/faces", status_code=201)
async def enroll(
    request: Request,
    services: ServicesDep,
    service: Enroller,
    subject: Annotated[Name, Query()],
    options: Annotated[Options, Depends(options)],
    fields: Annotated[FileRequest, Depends(body(FileRequest))],
) -> replies.StoredFace:
    """Add a face to a subject, which is made when new. The picture shows one face."""
    embedder = await services.embedder_for(request, None, service.collection)
    quality = services.settings.compreface.quality

    def work(stages: Stages) -> EnrolmentOutcome:
        outcome = options.see(services.engine).enroll(
            service.collection, subject, [fields.file], embedder, OperatingPoint(), stages, quality=quality
        )
        assert isinstance(outcome, EnrolmentOutcome)  # noqa: S101 - nothing is repeated without a key for it
        return outcome

    outcome = await services.decide(request, work)
    (face,) = outcome.enrolment.faces
    return replies.StoredFace(image_id=face.id, subject=face.subject)


@router.get("/recognition/faces/", include_in_schema=False)
@router.get("/recognition/faces")
def list_faces(
    services: ServicesDep,
    service: Reader,
    page: Annotated[int, Query(ge=0, lt=2**31)] = 0,
    size: Annotated[int, Query(ge=1)] = 20,
    subject: Annotated[QueryName, Query(max_length=200)] = "",
) -> replies.FacePage:
    """A page of faces, oldest first: of all subjects, or of one. As in CompreFace a page too large is made smaller."""
    size = min(size, MAX_PAGE)
    faces, total = services.gallery.database.read(
        partial(queries.numbered_faces, collection=service.collection, subject=subject or None, number=page, size=size)
    )
    return replies.FacePage.of(faces, total, page, size)


@router.get("/recognition/faces/{image_id}/img", response_class=Response)
def read_image(request: Request, services: ServicesDep, service: Reader, image_id: str) -> Response:
    """The face as it was kept at enrolment, a PNG of 128 by 128 pixels; empty where the collection keeps none."""
    context_of(request.scope).target = services.gallery.face(service.collection, image_id).subject_id
    crop = services.gallery.crop(service.collection, image_id)
    return Response(crop or b"", media_type="image/png" if crop else "application/octet-stream")


@router.delete("/recognition/faces/", include_in_schema=False)
@router.delete("/recognition/faces")
def delete_faces(
    request: Request, services: ServicesDep, service: Eraser, subject: Annotated[QueryName, Query(max_length=200)] = ""
) -> replies.Deleted:
    """Erase the faces of one subject, or of all. As in CompreFace a subject goes with its faces."""
    gallery, collection = services.gallery, service.collection
    noting = services.noting(request, collection)
    if not subject:
        receipt, _ = gallery.delete_subjects(collection, noting)
    elif gallery.database.read(partial(queries.has_subject, collection=collection, name=subject)):
        receipt = gallery.delete_subject(collection, subject, noting)
    else:
        return replies.Deleted(deleted=0)
    return replies.Deleted(deleted=receipt.faces)


@router.delete("/recognition/faces/{image_id}")
def delete_face(request: Request, services: ServicesDep, service: Eraser, image_id: str) -> replies.StoredFace:
    """Erase one face; its subject stays."""
    face = services.gallery.face(service.collection, image_id)
    services.gallery.delete_face(service.collection, image_id, services.noting(request, service.collection))
    return replies.StoredFace(image_id=image_id, subject=face.subject)


@router.post("/recognition/faces/delete")
def delete_several_faces(
    request: Request,
    services: ServicesDep,
    service: Eraser,
    fields: Annotated[FaceIdsRequest, Depends(body(FaceIdsRequest, forms=False))],
) -> list[replies.StoredFace]:
    """Erase faces by their ids; ids that are not there are overlooked."""
    noting = services.noting(request, service.collection)
    erased = services.gallery.delete_faces(service.collection, fields.ids, noting)
    return [replies.StoredFace(image_id=face.id, subject=face.subject) for face, _ in erased]
