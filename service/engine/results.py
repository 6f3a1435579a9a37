"""What the engine decided or found, as values."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from service.decision import OperatingPoint, Outcome, decide
from service.engine.enrolment_report import EnrolmentReport, FaceReport, ImageReport, Refusal
from service.errors import FacetError
from service.face.cross_model import Thresholds
from service.face.embedding.embed import Embedder
from service.face.score import Threshold
from service.gallery.records import Enrolment, Hit
from service.gallery_models import Reach
from service.pipeline import FaceFound, Scene
from service.runtime.timing import Stages


@dataclass(frozen=True, slots=True)
class SubjectRef:
    """A stored subject to compare with."""

    collection: str
    subject: str
    face: str | None = None
    """Id of the only one of its faces to compare with; None for all of them."""


@dataclass(frozen=True, slots=True)
class Verification:
    """The decision of a comparison of two: `matched` when `score` reaches `threshold`."""

    matched: bool
    score: float
    threshold: Threshold
    model: Embedder
    point: OperatingPoint
    """What the caller wanted it decided at."""
    claim: SubjectRef | None
    """The stored subject compared with; None when two images were compared."""
    reach: Reach | None
    """What the stored subject's templates were; None when two images were compared."""
    thresholds: Thresholds
    """By which the score is judged."""
    probe: FaceFound
    reference: FaceFound | Hit
    pictures: int
    """Different photographs of the reference: the best of them is compared, each at its share of the rate."""
    probe_faces: int
    seconds: Mapping[str, float]
    """Of each stage."""


@dataclass(frozen=True, slots=True)
class VerificationRule:
    """What every face of a probe is decided by: the reference, the model's thresholds and the threshold in force."""

    model: Embedder
    point: OperatingPoint
    claim: SubjectRef | None
    reach: Reach | None
    thresholds: Thresholds
    pictures: int
    threshold: Threshold

    def apply(
        self, probe: FaceFound, reference: FaceFound | Hit, score: float, probe_faces: int, stages: Stages
    ) -> Verification:
        """Decide by a score; where a face is unfit, the threshold is outside of what was calibrated."""
        known = all(each.quality.fit for each in (probe, reference) if isinstance(each, FaceFound))
        threshold = self.threshold if known else self.threshold.outside()
        return Verification(
            matched=decide(score, threshold) == Outcome.MATCH,
            score=score,
            threshold=threshold,
            model=self.model,
            point=self.point,
            claim=self.claim,
            reach=self.reach,
            thresholds=self.thresholds,
            probe=probe,
            reference=reference,
            pictures=self.pictures,
            probe_faces=probe_faces,
            seconds=stages.seconds,
        )


@dataclass(frozen=True, slots=True)
class FaceIdentification:
    """The open-set decision for one probe face; `candidates` holds each subject once, best first."""

    face: FaceFound
    outcome: Outcome
    candidates: tuple[Hit, ...]
    margin: float | None
    passing: tuple[Hit, ...]
    """Those of the best who reach the threshold, also where fewer candidates are to be shown."""


@dataclass(frozen=True, slots=True)
class Identification:
    """The decisions for the faces of one photograph against a gallery of `comparisons` templates."""

    collection: str
    faces: tuple[FaceIdentification, ...]
    faces_total: int
    """Faces seen."""
    truncated: bool
    """Whether all were asked for, and there were too many."""
    threshold: Threshold
    comparisons: int
    people: int
    """Subjects behind those templates: the rate counts people, whatever the number of their photographs."""
    model: Embedder
    point: OperatingPoint
    """What the caller wanted it decided at."""
    depth: int
    """Most candidates for each face."""
    reach: Reach
    seconds: Mapping[str, float]
    """Of each stage."""


@dataclass(frozen=True, slots=True)
class ImageOutcome:
    """What became of one image of an enrolment: the id of its new face, or the error that kept it out."""

    face_id: str | None
    face: FaceFound | None
    error: FacetError | None

    def report(self) -> ImageReport:
        """Describe it as plain data."""
        return ImageReport(
            self.face_id,
            None if self.face is None else FaceReport.of(self.face),
            None if self.error is None else Refusal.of(self.error),
        )


@dataclass(frozen=True, slots=True)
class EnrolmentOutcome:
    """A committed enrolment: what the gallery did, and what became of each image in the order given."""

    enrolment: Enrolment
    report: EnrolmentReport
    images: tuple[ImageOutcome, ...]
    model: Embedder
    """By which duplicates are looked for."""


@dataclass(frozen=True, slots=True)
class Repetition:
    """The outcome kept of an enrolment whose request came again: no image is looked at, and nothing decided."""

    enrolment: Enrolment
    report: EnrolmentReport


@dataclass(frozen=True, slots=True)
class Detection:
    """The faces of one photograph."""

    scene: Scene
    seconds: Mapping[str, float]
    """Of each stage."""


@dataclass(frozen=True, slots=True)
class Embedding:
    """Templates of the faces of one photograph: float32 (N, D), rows of unit length, and their offsets (N,).

    The score of two templates is their inner product and both their offsets.
    """

    scene: Scene
    vectors: NDArray[np.float32]
    offsets: NDArray[np.float32]
    model: Embedder
    seconds: Mapping[str, float]
    """Of each stage."""


class EnrolmentRefused(FacetError):
    """None of the images could be enrolled; `images` says why for each."""

    code = "enrolment_refused"

    def __init__(self, images: Sequence[ImageOutcome]) -> None:
        super().__init__("none of the images holds a face that can be enrolled")
        self.images = tuple(images)
