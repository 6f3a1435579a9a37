"""Detection: which faces a picture shows."""

from __future__ import annotations

from typing import Annotated

from fastapi import Depends, Request

from service.api.route_declarations import body
from service.api.services import ServicesDep
from service.compreface import replies
from service.compreface.requests import CALCULATOR, FileRequest, Options, options
from service.compreface.route import Service, router_of, serves
from service.engine.results import Detection, Embedding
from service.keys import Scope
from service.runtime.timing import Stages

router = router_of("detection")


@router.post("/detection/detect", response_model_exclude_none=True)
async def detect(
    request: Request,
    services: ServicesDep,
    _: Annotated[Service, Depends(serves(Scope.VERIFY))],
    options: Annotated[Options, Depends(options)],
    fields: Annotated[FileRequest, Depends(body(FileRequest))],
) -> replies.Detection:
    """Find faces, the most prominent first. None is an error, as it is in CompreFace."""
    embedder = await services.embedder_for(request, None)
    engine = options.see(services.engine)

    def work(stages: Stages) -> Detection | Embedding:
        seen: Detection | Embedding
        if CALCULATOR in options.plugins:
            seen = engine.embed(fields.file, embedder, stages)
        else:
            seen = engine.detect(fields.file, stages)
        seen.scene.prominent()
        return seen

    seen = await services.decide(request, work)
    vectors = seen.vectors if isinstance(seen, Embedding) else [None] * len(seen.scene.faces)
    result = [
        replies.SeenFace(**replies.describe(face, seen.seconds, options, vector))
        for face, vector in zip(seen.scene.faces, vectors, strict=True)
    ]
    return replies.Detection(
        result=result,
        plugins_versions=replies.versions(services.engine.models, embedder.manifest.identity, options),
    )
