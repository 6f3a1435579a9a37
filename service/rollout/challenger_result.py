"""What one model made of one probe, and what two models' opinions have in common."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Final, Literal

import numpy as np
from numpy.typing import NDArray

from service.database.schema import now
from service.decision import Ask, Outcome
from service.engine import Identification, Verification
from service.face.score import Threshold
from service.gallery.records import Hit
from service.pipeline import FaceFound

Route = Literal["verify", "identify"]
VERIFY: Final = "verify"
IDENTIFY: Final = "identify"


@dataclass(frozen=True, slots=True)
class Opinion:
    """A model's decision. `rate` is what its threshold promises: the FMR of a verification, the FPIR of a search."""

    model: str
    score: float | None
    threshold: float
    rate: float | None
    decision: str
    subjects: tuple[str, ...]
    """Ids of the subjects compared with, best first; none for two images."""
    seconds: float

    @property
    def accepts(self) -> bool:
        """Whether it is a match."""
        return self.decision == Outcome.MATCH

    def rank_of_first(self, other: Opinion) -> int | None:
        """Where this one's list has the other's first subject; None when it is not in the list."""
        first = other.subjects[0] if other.subjects else None
        return self.subjects.index(first) + 1 if first in self.subjects else None

    def agrees(self, other: Opinion) -> bool:
        """The same decision and, where both match, on the same subject."""
        return self.decision == other.decision and (not self.accepts or self.subjects[:1] == other.subjects[:1])


@dataclass(frozen=True, slots=True)
class Sampled:
    """A decision of the champion, with what the challenger needs to decide the same; crops live in memory only."""

    request_id: str
    at: datetime
    route: Route
    collection: str | None
    subject: str | None
    ask: Ask
    crops: NDArray[np.uint8]
    """RGB (N, 128, 128, 3): the faces identified, or the probe and, where two images were compared, the reference."""
    depth: int
    """Candidates that the champion's answer could have."""
    opinions: tuple[Opinion, ...]
    """The champion's: one for a verification, one for each face identified."""


def sample_verification(
    request_id: str, ask: Ask, result: Verification, collection: str | None, subject: str | None
) -> Sampled:
    """A verification to compare."""
    reference = result.reference
    faces = [result.probe, reference] if isinstance(reference, FaceFound) else [result.probe]
    opinion = Opinion(
        model=result.model.digest,
        score=result.score,
        threshold=result.threshold.value,
        rate=result.threshold.fmr,
        decision=Outcome.MATCH if result.matched else Outcome.NO_MATCH,
        subjects=(reference.subject_id,) if isinstance(reference, Hit) else (),
        seconds=result.stages.get("embed", 0.0) + result.stages.get("compare", 0.0),
    )
    return Sampled(request_id, now(), VERIFY, collection, subject, ask, _crops(faces), 1, (opinion,))


def sample_identification(request_id: str, ask: Ask, result: Identification, collection: str, depth: int) -> Sampled:
    """An identification to compare, face by face."""
    seconds = result.stages.get("embed", 0.0) + result.stages.get("search", 0.0)
    opinions = tuple(
        Opinion(
            model=result.model.digest,
            score=found.candidates[0].score if found.candidates else None,
            threshold=result.threshold.value,
            rate=promised(result.threshold, result.comparisons),
            decision=found.outcome,
            subjects=tuple(hit.subject_id for hit in found.candidates),
            seconds=seconds / len(result.faces),
        )
        for found in result.faces
    )
    crops = _crops([found.face for found in result.faces])
    return Sampled(request_id, now(), IDENTIFY, collection, None, ask, crops, depth, opinions)


def promised(threshold: Threshold, comparisons: int) -> float | None:
    """The rate at which a stranger, compared so often at this threshold, matches anybody; None when unknown."""
    return None if threshold.fmr is None else -math.expm1(comparisons * math.log1p(-threshold.fmr))


def _crops(faces: Sequence[FaceFound]) -> NDArray[np.uint8]:
    return np.stack([face.crop for face in faces])
