"""Verification: whether a picture shows the person of another."""

from __future__ import annotations

from typing import Annotated

from fastapi import Depends, Request

from service.api.route_declarations import body
from service.api.services import ServicesDep
from service.compreface import replies
from service.compreface.requests import Options, PairRequest, options
from service.compreface.route import Service, router_of, serves
from service.compreface.routes.recognition import embeddings_of
from service.compreface.similarity import similarity_of
from service.decision import OperatingPoint
from service.engine.faces import FaceChoice
from service.keys import Scope
from service.pipeline import FaceFound

router = router_of("verification")


@router.post("/verification/verify", response_model_exclude_none=True)
async def verify(
    request: Request,
    services: ServicesDep,
    _: Annotated[Service, Depends(serves(Scope.VERIFY))],
    options: Annotated[Options, Depends(options)],
    fields: Annotated[PairRequest, Depends(body(PairRequest))],
) -> replies.PairVerification:
    """Compare the one face of the source with each face of the target."""
    embedder = await services.embedder_for(request, None, "")
    engine = options.see(services.engine)
    choice: FaceChoice = "prominent" if options.limit == 1 else "single"
    results = await services.decide_each(
        request,
        lambda stages: engine.verify_each(
            fields.target_image, fields.source_image, embedder, OperatingPoint(), stages, choice
        ),
    )
    source = results[0].reference
    assert isinstance(source, FaceFound)  # noqa: S101 - two pictures were compared
    faces = [source, *(each.probe for each in results)]
    vectors = await embeddings_of(request, services, embedder, faces, options)
    match = replies.PairMatch(
        source_image_face=replies.SeenFace(**replies.describe(source, results[0].seconds, options, vectors[0])),
        face_matches=[
            replies.ComparedFace(
                **replies.describe(each.probe, each.seconds, options, vector),
                similarity=similarity_of(each.score, each.thresholds),
            )
            for each, vector in zip(results, vectors[1:], strict=True)
        ],
        plugins_versions=replies.versions(services.engine.models, embedder.manifest.identity, options),
    )
    return replies.PairVerification(result=[match])
