"""Decisions of the champion, sampled with all that a challenger needs to decide the same."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime

import numpy as np
from numpy.typing import NDArray

from service.database.schema import now
from service.decision import OperatingPoint, Outcome, expected_fpir
from service.engine.results import Identification, Verification
from service.gallery.records import Hit
from service.pipeline import FaceFound
from service.rollout.model_decision import IDENTIFY, VERIFY, ModelDecision, Route


@dataclass(frozen=True, slots=True)
class SampledDecision:
    """A decision of the champion, with what the challenger needs to decide the same; crops live in memory only."""

    request_id: str
    principal: str
    """Whose decision it is."""
    at: datetime
    route: Route
    collection: str | None
    subject: str | None
    point: OperatingPoint
    crops: NDArray[np.uint8]
    """RGB (N, 128, 128, 3): the faces identified, or the probe and, where two images were compared, the reference."""
    depth: int
    """Candidates that the champion's answer could have."""
    decisions: tuple[ModelDecision, ...]
    """The champion's: one for a verification, one for each face identified."""
    face: str | None = None
    """Id of the only face of the subject that was compared, where it was one."""


def sample_verification(request_id: str, principal: str, result: Verification) -> SampledDecision:
    """Sample a verification."""
    reference, claim = result.reference, result.claim
    faces = [result.probe, reference] if isinstance(reference, FaceFound) else [result.probe]
    decision = ModelDecision(
        model=result.model.digest,
        score=result.score,
        threshold=result.threshold.value,
        fmr=expected_fpir(result.threshold, result.pictures),
        decision=Outcome.MATCH if result.matched else Outcome.NO_MATCH,
        subjects=(reference.subject_id,) if isinstance(reference, Hit) else (),
        seconds=result.seconds.get("embed", 0.0) + result.seconds.get("compare", 0.0),
    )
    return SampledDecision(
        request_id=request_id,
        principal=principal,
        at=now(),
        route=VERIFY,
        collection=claim.collection if claim else None,
        subject=claim.subject if claim else None,
        point=result.point,
        crops=_crops(faces),
        depth=1,
        decisions=(decision,),
        face=claim.face if claim else None,
    )


def sample_identification(request_id: str, principal: str, result: Identification) -> SampledDecision:
    """Sample an identification of at least one face, face by face."""
    seconds = result.seconds.get("embed", 0.0) + result.seconds.get("search", 0.0)
    decisions = tuple(
        ModelDecision(
            model=result.model.digest,
            score=each.candidates[0].score if each.candidates else None,
            threshold=result.threshold.value,
            fmr=expected_fpir(result.threshold, result.people),
            decision=each.outcome,
            subjects=tuple(hit.subject_id for hit in each.candidates),
            seconds=seconds / len(result.faces),
        )
        for each in result.faces
    )
    return SampledDecision(
        request_id=request_id,
        principal=principal,
        at=now(),
        route=IDENTIFY,
        collection=result.collection,
        subject=None,
        point=result.point,
        crops=_crops([each.face for each in result.faces]),
        depth=result.depth,
        decisions=decisions,
    )


def _crops(faces: Sequence[FaceFound]) -> NDArray[np.uint8]:
    return np.stack([face.crop for face in faces])
