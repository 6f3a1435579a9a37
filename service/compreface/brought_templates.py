"""Templates that a caller brings instead of a picture, decided by the rules for those made of pictures."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from service.compreface.similarity import similarity_of
from service.decision import OperatingPoint, Outcome, decide, decide_open_set, threshold_for
from service.engine.engine import Engine
from service.engine.results import SubjectRef
from service.face.embedding.embed import Embedder
from service.face.score import normalised
from service.gallery.records import Hit
from service.index.errors import VectorInvalid
from service.observation import BroughtTemplates, TemplateOutcome
from service.runtime.timing import Stages

Vectors = NDArray[np.float32]


@dataclass(frozen=True, slots=True)
class TemplateSearch:
    """The decision for each template, and its candidates with their similarities, best first."""

    decision: BroughtTemplates
    candidates: tuple[tuple[tuple[Hit, float], ...], ...]


@dataclass(frozen=True, slots=True)
class TemplateComparison:
    """The decision for each template, and its similarity to the one in question."""

    decision: BroughtTemplates
    similarities: tuple[float, ...]


def read_vectors(rows: Sequence[Sequence[float]], embedder: Embedder) -> Vectors:
    """Templates as float32 (N, D), each brought to unit length.

    Raises: VectorInvalid when one is not of the model's dimension, or has no direction.
    """
    if any(len(row) != embedder.dim for row in rows):
        raise VectorInvalid(f"an embedding of {embedder.manifest.identity} has {embedder.dim} values")
    matrix = np.array(rows, np.float64).reshape(len(rows), embedder.dim)
    lengths = np.linalg.norm(matrix, axis=1, keepdims=True)
    if not np.all(np.isfinite(lengths)) or np.any(lengths < 1e-12):
        raise VectorInvalid("an embedding has no direction")
    return np.asarray(matrix / lengths, np.float32)


def search_templates(
    engine: Engine, collection: str, vectors: Vectors, embedder: Embedder, depth: int, stages: Stages
) -> TemplateSearch:
    """Decide for each of (N, D) unit vectors who of a collection it is of. Raises: ModelError, GalleryError."""
    point, reach = OperatingPoint(), engine.references.of(embedder, collection)
    people = reach.people(reach.comparisons())
    threshold = threshold_for(point, reach.thresholds, engine.limits.default_fmr, people)
    with stages.stage("search"):
        ranked = engine.search(reach, vectors, max(2, depth), people, point, threshold)
    outcomes = []
    for hits in ranked:
        outcome, _ = decide_open_set(hits, threshold, engine.limits.ambiguous_margin)
        target = hits[0].subject_id if outcome == Outcome.MATCH else None
        outcomes.append(TemplateOutcome(outcome, hits[0].score if hits else None, target))
    decision = BroughtTemplates("identify", embedder, threshold, tuple(outcomes))
    return TemplateSearch(
        decision,
        tuple(
            tuple((hit, similarity_of(hit.score, reach.thresholds, people)) for hit in hits[:depth]) for hits in ranked
        ),
    )


def compare_with_stored(
    engine: Engine, claim: SubjectRef, vectors: Vectors, embedder: Embedder, stages: Stages
) -> TemplateComparison:
    """Decide for each of (N, D) unit vectors whether it is of the person of a stored face.

    Raises: ModelError, GalleryError.
    """
    reach = engine.references.of(embedder, claim.collection, claim.subject, claim.face)
    threshold = threshold_for(OperatingPoint(), reach.thresholds, engine.limits.default_fmr)
    with stages.stage("compare"):
        hits = [reach.compare(vector) for vector in vectors]
    outcomes = tuple(TemplateOutcome(decide(hit.score, threshold), hit.score, hit.subject_id) for hit in hits)
    return TemplateComparison(
        BroughtTemplates("verify", embedder, threshold, outcomes),
        tuple(similarity_of(hit.score, reach.thresholds) for hit in hits),
    )


def compare_with_source(
    engine: Engine, source: Vectors, vectors: Vectors, embedder: Embedder, stages: Stages
) -> TemplateComparison:
    """Decide for each of (N, D) unit vectors whether it is of the person of another, (1, D). Raises: ModelError."""
    table = engine.models.thresholds(embedder)
    threshold = threshold_for(OperatingPoint(), table, engine.limits.default_fmr)
    with stages.stage("compare"):
        (own,), offsets = embedder.offsets(source), embedder.offsets(vectors)
        scores = [normalised(source[0], vector, own, offset) for vector, offset in zip(vectors, offsets, strict=True)]
    outcomes = tuple(TemplateOutcome(decide(score, threshold), score, None) for score in scores)
    return TemplateComparison(
        BroughtTemplates("verify", embedder, threshold, outcomes),
        tuple(similarity_of(score, table) for score in scores),
    )
