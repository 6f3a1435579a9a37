"""Recognition: who a picture shows, and whether it shows the person of a stored face."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated

import numpy as np
from fastapi import Depends, Request

from service.api.route_declarations import body
from service.api.services import Services, ServicesDep
from service.compreface import replies
from service.compreface.requests import CALCULATOR, FileRequest, Options, options, prediction_count
from service.compreface.route import Service, router_of, serves
from service.compreface.similarity import similarity_of
from service.decision import OperatingPoint
from service.engine.results import Identification, SubjectRef, Verification
from service.face.embedding.embed import Embedder
from service.face.errors import NoFace
from service.gallery.records import Hit, Vector
from service.keys import Scope
from service.pipeline import FaceFound
from service.runtime.timing import Stages

router = router_of("recognition")


@router.post("/recognition/recognize", response_model_exclude_none=True)
async def recognize(
    request: Request,
    services: ServicesDep,
    service: Annotated[Service, Depends(serves(Scope.IDENTIFY))],
    options: Annotated[Options, Depends(options)],
    depth: Annotated[int, Depends(prediction_count)],
    fields: Annotated[FileRequest, Depends(body(FileRequest))],
    detect_faces: bool = True,
) -> replies.Recognition:
    """Name for each face the subjects that are most like it, however little that is."""
    embedder = await services.embedder_for(request, None, service.collection)
    engine = options.see(services.engine, whole=not detect_faces)

    def work(stages: Stages) -> Identification:
        answer = engine.identify(
            service.collection, fields.file, embedder, OperatingPoint(), stages, depth, faces="all"
        )
        if not answer.faces:
            raise NoFace("no face was found in the image")
        return answer

    answer = await services.decide(request, work)
    vectors = await embeddings_of(request, services, embedder, [each.face for each in answer.faces], options)
    table, people = answer.reach.thresholds, answer.people
    result = [
        replies.RecognisedFace(
            **replies.describe(each.face, answer.seconds, options, vector),
            subjects=[
                replies.SubjectSimilarity(subject=hit.subject, similarity=similarity_of(hit.score, table, people))
                for hit in each.candidates
            ],
        )
        for each, vector in zip(answer.faces, vectors, strict=True)
    ]
    return replies.Recognition(
        result=result,
        plugins_versions=replies.versions(services.engine.models, embedder.manifest.identity, options),
    )


@router.post("/recognition/faces/{image_id}/verify", response_model_exclude_none=True)
async def verify_stored(
    request: Request,
    services: ServicesDep,
    service: Annotated[Service, Depends(serves(Scope.VERIFY))],
    image_id: str,
    options: Annotated[Options, Depends(options)],
    fields: Annotated[FileRequest, Depends(body(FileRequest))],
) -> replies.FaceVerification:
    """Compare each face of a picture with one stored face."""
    embedder = await services.embedder_for(request, None, service.collection)
    engine = options.see(services.engine)

    def work(stages: Stages) -> tuple[Verification, ...]:
        stored = services.gallery.face(service.collection, image_id)
        claim = SubjectRef(service.collection, stored.subject, image_id)
        return engine.verify_each(fields.file, claim, embedder, OperatingPoint(), stages)

    results = await services.decide_each(request, work)
    vectors = await embeddings_of(request, services, embedder, [each.probe for each in results], options)
    return replies.FaceVerification(
        result=[
            replies.ComparedFace(
                **replies.describe(each.probe, each.seconds, options, vector),
                similarity=similarity_of(each.score, each.thresholds),
                subject=each.reference.subject if isinstance(each.reference, Hit) else None,
            )
            for each, vector in zip(results, vectors, strict=True)
        ],
        plugins_versions=replies.versions(services.engine.models, embedder.manifest.identity, options),
    )


async def embeddings_of(
    request: Request, services: Services, embedder: Embedder, faces: Sequence[FaceFound], options: Options
) -> list[Vector] | list[None]:
    """The templates of faces where the plugin `calculator` is asked for, else None for each."""
    if CALCULATOR not in options.plugins:
        return [None] * len(faces)
    crops = np.stack([face.crop for face in faces])
    return list(await services.perform(request, lambda _: embedder.embed(crops)))
