"""Replies to those who verify, identify and enrol."""

from __future__ import annotations

from typing import Any, Literal, Self

from pydantic import ConfigDict, Field

from service.api.schemas.faces import TOTAL, Face
from service.api.schemas.gallery import Subject
from service.api.schemas.models import ModelRef
from service.api.schemas.reply import STAGES, Reply, Timings, rounded
from service.decision import expected_fpir
from service.engine import results
from service.engine.enrolment_report import FaceReport, ImageReport, Refusal
from service.gallery.records import Hit


class Decided(Reply):
    """What every decision carries: the threshold, the rate it stands for, the model, the time it took."""

    threshold: float = Field(description="Score from which on two faces are taken for one person.")
    fmr: float | None = Field(description="False match rate of one comparison at this threshold; null when unknown.")
    fmr_basis: Literal["measured", "interpolated", "extrapolated", "outside_calibration", "given"] = Field(
        description="How the rate is known. `measured`, `interpolated`: on fit faces of the calibration. "
        "`extrapolated`: from a tail fitted to the highest scores of strangers. `outside_calibration`: a face is "
        "unfit, its `reasons` say why, and the rate was not measured on such. `given`: the caller gave the threshold."
    )
    fmr_ci95: tuple[float, float] | None = Field(
        description="95 % interval of the rate at this threshold, where it is known."
    )
    model: ModelRef = Field(description="Embedded the probe.")
    reference_models: list[ModelRef] = Field(
        description="Made the templates that the probe was compared with: the same model, or others of its space."
    )
    calibration: Literal["model", "pair", "cautious"] = Field(
        description="Whose threshold it is: the `model`'s own, one measured for the `pair` of probe and reference "
        "model, or, `cautious`, the stricter of the two models' own."
    )
    timings: Timings = Field(description=STAGES)
    request_id: str


class Candidate(Reply):
    """A stored subject with its best face."""

    rank: int
    subject: str
    subject_id: str
    face_id: str
    score: float
    reference_model: str = Field(description="Digest of the model that made the best face's template.")

    @classmethod
    def of(cls, rank: int, hit: Hit) -> Self:
        """Render a hit at its rank."""
        return cls(
            rank=rank,
            subject=hit.subject,
            subject_id=hit.subject_id,
            face_id=hit.face_id,
            score=hit.score,
            reference_model=hit.model,
        )


class Verdict(Reply):
    """The outcome of a comparison of two; a class of its own so that it comes first in the answer."""

    decision: Literal["match", "no_match"]
    score: float = Field(
        description="Cosine of the two templates, lowered by what each scores with strangers like it where the model "
        "has a normalisation. `match` means score >= threshold."
    )


class Verification(Decided, Verdict):
    """The decision whether two faces are of one person."""

    probe: Face
    probe_faces: int = Field(description="Faces seen in the probe image; small ones may be missed.")
    reference: Face | None = Field(description="The reference image's face; null when compared with a subject.")
    subject: Candidate | None = Field(description="The stored subject's best face; null when compared with an image.")
    pictures: int = Field(
        description="Different photographs of the reference. The best of them counts, so each is decided at its share "
        "of the rate: with k of them at 1 - (1 - rate)^(1/k), which is `fmr`."
    )

    @classmethod
    def of(cls, result: results.Verification, request_id: str) -> Self:
        """Render a verification."""
        reference = result.reference
        return cls(
            decision="match" if result.matched else "no_match",
            score=result.score,
            probe=Face.of(FaceReport.of(result.probe)),
            probe_faces=result.probe_faces,
            reference=None if isinstance(reference, Hit) else Face.of(FaceReport.of(reference)),
            subject=Candidate.of(1, reference) if isinstance(reference, Hit) else None,
            pictures=result.pictures,
            **_decided(result, request_id),
        )


class IdentifiedFace(Reply):
    """The decision for one face of the image."""

    decision: Literal["match", "no_match", "ambiguous"] = Field(
        description="`match`: rank 1 is this person. `no_match`: nobody enrolled. `ambiguous`: ranks 1 and 2 both "
        "pass and lie too close to tell."
    )
    margin: float | None = Field(description="Score of rank 1 less that of rank 2; null with fewer than two.")
    candidates: list[Candidate] = Field(description="Subjects, each once with its best face, best first.")
    face: Face

    @classmethod
    def of(cls, result: results.FaceIdentification) -> Self:
        """Render the decision for one face."""
        return cls(
            decision=result.outcome.value,
            margin=result.margin,
            candidates=[Candidate.of(rank, hit) for rank, hit in enumerate(result.candidates, 1)],
            face=Face.of(FaceReport.of(result.face)),
        )


class Identification(Decided):
    """The decisions for the faces of one image against a collection."""

    collection: str
    comparisons: int = Field(description="Templates searched.")
    people: int = Field(
        description="Subjects behind those templates. The threshold follows their number, not that of photographs. The "
        "score of a candidate with several photographs is lowered by what the choice among them is worth."
    )
    fpir: float | None = Field(
        description="Rate at which a stranger matches anybody among that many at this threshold; null when unknown."
    )
    unreachable: int = Field(
        description="Faces of the collection without a template that this model's probes can be compared with."
    )
    faces: list[IdentifiedFace]
    faces_total: int = Field(description=TOTAL)
    truncated: bool = Field(description="With faces=all: whether `faces` lacks some, having the most prominent ones.")

    @classmethod
    def of(cls, result: results.Identification, request_id: str) -> Self:
        """Render an identification."""
        return cls(
            collection=result.collection,
            comparisons=result.comparisons,
            people=result.people,
            fpir=expected_fpir(result.threshold, result.people),
            unreachable=result.reach.unreachable,
            faces=[IdentifiedFace.of(face) for face in result.faces],
            faces_total=result.faces_total,
            truncated=result.truncated,
            **_decided(result, request_id),
        )


class Reason(Reply):
    """Why an image was not enrolled."""

    model_config = ConfigDict(frozen=True, extra="allow")

    code: str = Field(examples=["no_face"])
    detail: str

    @classmethod
    def of(cls, refusal: Refusal) -> Self:
        """Render a refusal; `reasons` only where a face is unfit."""
        reasons = {"reasons": list(refusal.reasons)} if refusal.reasons else {}
        return cls(code=refusal.code, detail=refusal.detail, **reasons)


class EnrolledImage(Reply):
    """What became of one image, in the order sent."""

    face_id: str | None = Field(description="Id of the new face; null when the image was not enrolled.")
    face: Face | None
    problem: Reason | None

    @classmethod
    def of(cls, image: ImageReport) -> Self:
        """Render what became of one image."""
        return cls(
            face_id=image.face_id,
            face=None if image.face is None else Face.of(image.face),
            problem=None if image.refusal is None else Reason.of(image.refusal),
        )


class Duplicate(Reply):
    """Another subject who has this face too."""

    subject: str
    score: float


class Enrollment(Reply):
    """A committed enrolment. It is on disk, and the next search finds it."""

    subject: Subject
    created: bool = Field(description="Whether the subject is new.")
    images: list[EnrolledImage]
    duplicates: list[Duplicate] = Field(description="Other subjects found to have the face, with duplicate=warn.")
    models: list[ModelRef] = Field(description="Models whose templates were made.")
    timings: Timings = Field(description=STAGES)
    request_id: str

    @classmethod
    def of(cls, outcome: results.EnrolmentOutcome | results.Repetition, request_id: str) -> Self:
        """Render an enrolment; a repetition is answered as its first request was."""
        result, report = outcome.enrolment, outcome.report
        return cls(
            subject=Subject.model_validate(result.subject),
            created=result.created,
            images=[EnrolledImage.of(image) for image in report.images],
            duplicates=[Duplicate.model_validate(hit) for hit in result.duplicates],
            models=[ModelRef.model_validate(model) for model in report.models],
            timings=rounded(report.seconds),
            request_id=result.request_id or request_id,
        )


def _decided(result: results.Verification | results.Identification, request_id: str) -> dict[str, Any]:
    manifests = (result.model.manifest,) if result.reach is None else result.reach.models
    return {
        "threshold": result.threshold.value,
        "fmr": result.threshold.fmr,
        "fmr_basis": result.threshold.basis,
        "fmr_ci95": result.threshold.ci95,
        "model": ModelRef.of(result.model.manifest),
        "reference_models": [ModelRef.of(manifest) for manifest in manifests],
        "calibration": "model" if result.reach is None else result.reach.calibration,
        "timings": rounded(result.seconds),
        "request_id": request_id,
    }
