"""Recognition and verification by embeddings, which the plugin `calculator` gave before."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated

from fastapi import Depends, Request

from service.api.route_declarations import body
from service.api.services import ServicesDep
from service.compreface import replies
from service.compreface.brought_templates import (
    TemplateComparison,
    TemplateSearch,
    compare_with_source,
    compare_with_stored,
    read_vectors,
    search_templates,
)
from service.compreface.requests import EmbeddingPairsRequest, EmbeddingsRequest, prediction_count
from service.compreface.route import Service, router_of, serves
from service.engine.results import SubjectRef
from service.keys import Scope
from service.runtime.timing import Stages

router = router_of("embeddings")

EmbeddingsBody = Annotated[EmbeddingsRequest, Depends(body(EmbeddingsRequest, forms=False))]


@router.post("/recognition/embeddings/recognize")
async def recognize_embeddings(
    request: Request,
    services: ServicesDep,
    service: Annotated[Service, Depends(serves(Scope.IDENTIFY))],
    depth: Annotated[int, Depends(prediction_count)],
    fields: EmbeddingsBody,
) -> replies.EmbeddingRecognition:
    """Name for each embedding the subjects that are most like it."""
    embedder = await services.embedder_for(request, None, service.collection)
    vectors = read_vectors(fields.embeddings, embedder)

    def work(stages: Stages) -> TemplateSearch:
        result = search_templates(services.engine, service.collection, vectors, embedder, depth, stages)
        services.publish(request, result.decision, service.collection)
        return result

    result = await services.perform(request, work)
    return replies.EmbeddingRecognition(
        result=[
            replies.EmbeddingSubjects(
                embedding=embedding,
                similarities=[
                    replies.SubjectSimilarity(subject=hit.subject, similarity=similarity) for hit, similarity in hits
                ],
            )
            for embedding, hits in zip(fields.embeddings, result.candidates, strict=True)
        ]
    )


@router.post("/recognition/embeddings/faces/{image_id}/verify")
async def verify_embeddings_with_stored(
    request: Request,
    services: ServicesDep,
    service: Annotated[Service, Depends(serves(Scope.VERIFY))],
    image_id: str,
    fields: EmbeddingsBody,
) -> replies.EmbeddingVerification:
    """Compare embeddings with one stored face."""
    embedder = await services.embedder_for(request, None, service.collection)
    vectors = read_vectors(fields.embeddings, embedder)

    def work(stages: Stages) -> TemplateComparison:
        stored = services.gallery.face(service.collection, image_id)
        claim = SubjectRef(service.collection, stored.subject, image_id)
        result = compare_with_stored(services.engine, claim, vectors, embedder, stages)
        services.publish(request, result.decision, service.collection)
        return result

    result = await services.perform(request, work)
    return _most_similar_first(fields.embeddings, result.similarities)


@router.post("/verification/embeddings/verify")
async def verify_embeddings(
    request: Request,
    services: ServicesDep,
    _: Annotated[Service, Depends(serves(Scope.VERIFY))],
    fields: Annotated[EmbeddingPairsRequest, Depends(body(EmbeddingPairsRequest, forms=False))],
) -> replies.EmbeddingVerification:
    """Compare embeddings with another one."""
    embedder = await services.embedder_for(request, None, "")
    source = read_vectors([fields.source], embedder)
    vectors = read_vectors(fields.targets, embedder)

    def work(stages: Stages) -> TemplateComparison:
        result = compare_with_source(services.engine, source, vectors, embedder, stages)
        services.publish(request, result.decision)
        return result

    result = await services.perform(request, work)
    return _most_similar_first(fields.targets, result.similarities)


def _most_similar_first(
    embeddings: Sequence[tuple[float, ...]], similarities: Sequence[float]
) -> replies.EmbeddingVerification:
    pairs = sorted(zip(similarities, embeddings, strict=True), key=lambda pair: -pair[0])
    return replies.EmbeddingVerification(
        result=[replies.EmbeddingSimilarity(embedding=embedding, similarity=value) for value, embedding in pairs]
    )
