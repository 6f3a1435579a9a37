"""What the service answers: schemas, and how results of the engine and the gallery become them."""

from __future__ import annotations

import math
from collections.abc import Mapping
from datetime import datetime
from typing import Any, Generic, Literal, Self, TypeVar

from pydantic import BaseModel, ConfigDict, Field

from service import engine
from service.api.http.problems import reason_of
from service.face.embed import Embedder
from service.face.manifest import Manifest
from service.gallery import records
from service.models import Models
from service.pipeline import FaceFound, Scene
from service.rollout import report as comparison
from service.rollout.backfill.jobs import Job
from service.rollout.decision_log import Choice
from service.rollout.roles import Assignment

T = TypeVar("T")
Timings = dict[str, float]

STAGES = "Seconds per stage: wait (for a worker), decode, detect, align, embed, then compare, search or commit."


class Reply(BaseModel):
    """What all replies share."""

    model_config = ConfigDict(frozen=True)


class Record(Reply):
    """A reply that has the fields of a record of the gallery: `model_validate(record)` makes it."""

    model_config = ConfigDict(frozen=True, from_attributes=True)


class ModelRef(Reply):
    """The model behind a result, and the SHA-256 of its file."""

    name: str = Field(examples=["facet-s"])
    version: str = Field(examples=["1.0.0"])
    digest: str

    @classmethod
    def of(cls, embedder: Embedder) -> Self:
        return cls.described(embedder.manifest)

    @classmethod
    def described(cls, manifest: Manifest) -> Self:
        """The reference to the model of a manifest."""
        return cls(name=manifest.name, version=manifest.version, digest=manifest.sha256)


class Box(Reply):
    """A rectangle in pixels of the upright image; parts of it may lie outside."""

    x: float
    y: float
    width: float
    height: float


class Quality(Reply):
    """Measured quality of a face."""

    eye_distance: float = Field(description="Pixels between the eyes, in the image as sent.")
    sharpness: float = Field(description="Mean absolute Laplacian over contrast; higher is sharper.")
    brightness: float = Field(description="Mean luma, 0 to 1.")
    contrast: float = Field(description="Standard deviation of luma.")
    turn: float = Field(description="Distance of the nose from the middle of the eyes; 0 is frontal.")
    cut: float = Field(description="Share of the face outside the image.")
    reasons: list[str] = Field(description="Why the face is unfit; empty when it is fit.", examples=[["too_small"]])


class Face(Reply):
    """A face found in an image."""

    box: Box
    landmarks: list[tuple[float, float]] = Field(
        description="Eyes, tip of the nose and corners of the mouth, left to right in the image; x and y in pixels."
    )
    detection_score: float = Field(description="How sure the detector is that this is a face, 0 to 1. Not a match.")
    quality: Quality

    @classmethod
    def of(cls, found: FaceFound) -> Self:
        return cls(**_face(found))


class EmbeddedFace(Face):
    """A face with its template: a unit vector in the model's space."""

    embedding: list[float]


class Decided(Reply):
    """What every decision carries: the threshold, the rate it stands for, the model, the time it took."""

    threshold: float = Field(description="Score from which on two faces are taken for one person.")
    fmr: float | None = Field(description="False match rate of one comparison at this threshold; null when unknown.")
    fmr_basis: Literal["measured", "interpolated", "extrapolated", "given"] = Field(
        description="How the rate is known. `given`: the caller gave the threshold."
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
    def of(cls, rank: int, hit: records.Hit) -> Self:
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
    score: float = Field(description="Cosine of the two templates, -1 to 1. `match` means score >= threshold.")


class Verification(Decided, Verdict):
    """The decision whether two faces are of one person."""

    probe: Face
    probe_faces: int = Field(description="Faces seen in the probe image.")
    reference: Face | None = Field(description="The reference image's face; null when compared with a subject.")
    subject: Candidate | None = Field(description="The stored subject's best face; null when compared with an image.")

    @classmethod
    def of(cls, result: engine.Verification, request_id: str) -> Self:
        return cls(
            decision="match" if result.matched else "no_match",
            score=result.score,
            probe=Face.of(result.probe),
            probe_faces=result.probe_faces,
            reference=None if isinstance(result.reference, records.Hit) else Face.of(result.reference),
            subject=Candidate.of(1, result.reference) if isinstance(result.reference, records.Hit) else None,
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
    def of(cls, result: engine.FaceIdentification) -> Self:
        return cls(
            decision=result.outcome.value,
            margin=result.margin,
            candidates=[Candidate.of(rank, hit) for rank, hit in enumerate(result.candidates, 1)],
            face=Face.of(result.face),
        )


class Identification(Decided):
    """The decisions for the faces of one image against a collection."""

    collection: str
    comparisons: int = Field(description="Templates searched.")
    fpir: float | None = Field(
        description="Rate at which a stranger matches anybody among that many at this threshold; null when unknown."
    )
    unreachable: int = Field(
        description="Faces of the collection without a template that this model's probes can be compared with."
    )
    faces: list[IdentifiedFace]

    @classmethod
    def of(cls, result: engine.Identification, collection: str, request_id: str) -> Self:
        return cls(
            collection=collection,
            comparisons=result.comparisons,
            fpir=_fpir(result.threshold.fmr, result.comparisons),
            unreachable=result.reach.unreachable,
            faces=[IdentifiedFace.of(face) for face in result.faces],
            **_decided(result, request_id),
        )


class Reason(Reply):
    """Why an image was not enrolled."""

    model_config = ConfigDict(frozen=True, extra="allow")

    code: str = Field(examples=["no_face"])
    detail: str


class EnrolledImage(Reply):
    """What became of one image, in the order sent."""

    face_id: str | None = Field(description="Id of the new face; null when the image was not enrolled.")
    face: Face | None
    problem: Reason | None

    @classmethod
    def of(cls, outcome: engine.ImageOutcome) -> Self:
        return cls(
            face_id=outcome.face_id,
            face=None if outcome.found is None else Face.of(outcome.found),
            problem=None if outcome.error is None else Reason(**reason_of(outcome.error)),
        )


class Duplicate(Reply):
    """Another subject who has this face too."""

    subject: str
    score: float


class Subject(Record):
    """An enrolled person; `faces` counts the faces enrolled now."""

    id: str
    collection: str
    name: str
    metadata: dict[str, Any]
    created_at: datetime
    updated_at: datetime
    faces: int


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
    def of(cls, outcome: engine.EnrolmentOutcome, request_id: str) -> Self:
        return cls(
            subject=Subject.model_validate(outcome.enrolment.subject),
            created=outcome.enrolment.created,
            images=[EnrolledImage.of(image) for image in outcome.images],
            duplicates=[Duplicate(subject=hit.subject, score=hit.score) for hit in outcome.enrolment.duplicates],
            models=[ModelRef.of(embedder) for embedder in outcome.models],
            timings=_rounded(outcome.stages),
            request_id=request_id,
        )


class Detection(Reply):
    """The faces of an image, the most prominent first."""

    width: int = Field(description="Of the image once upright, in pixels.")
    height: int
    faces: list[Face]
    timings: Timings = Field(description=STAGES)
    request_id: str

    @classmethod
    def of(cls, scene: Scene, seconds: Mapping[str, float], request_id: str) -> Self:
        return cls(
            width=scene.width,
            height=scene.height,
            faces=[Face.of(found) for found in scene.faces],
            timings=_rounded(seconds),
            request_id=request_id,
        )


class Embedding(Reply):
    """The templates of an image's faces."""

    width: int = Field(description="Of the image once upright, in pixels.")
    height: int
    model: ModelRef
    faces: list[EmbeddedFace]
    timings: Timings = Field(description=STAGES)
    request_id: str

    @classmethod
    def of(cls, result: engine.Embedding, request_id: str) -> Self:
        rows = zip(result.scene.faces, result.vectors.tolist(), strict=True)
        return cls(
            width=result.scene.width,
            height=result.scene.height,
            model=ModelRef.of(result.model),
            faces=[EmbeddedFace(**_face(found), embedding=vector) for found, vector in rows],
            timings=_rounded(result.stages),
            request_id=request_id,
        )


class Page(Reply, Generic[T]):
    """A part of a list. `next_cursor` asks for the part after it; null at the end."""

    items: list[T]
    next_cursor: str | None


class Collection(Record):
    """A named set of subjects, searched as one gallery."""

    name: str
    created_at: datetime
    keep_crops: bool
    metadata: dict[str, Any]


class StoredFace(Record):
    """One enrolled face, without its templates."""

    id: str
    collection: str
    subject: str
    created_at: datetime
    quality: dict[str, float]
    box: list[float] = Field(description="x, y, width and height in pixels of the upright image.")
    landmarks: list[tuple[float, float]]
    source_sha256: str = Field(description="Digest of the image it came from. The image itself is not kept.")
    models: list[str] = Field(description="Digests of the models that have a template of it.")


class Receipt(Record):
    """Proof of an erasure: what was removed, and how much of it."""

    id: str
    kind: str = Field(examples=["subject"])
    target: str
    faces: int
    templates: int
    at: datetime


class Model(Reply):
    """A model that the service knows."""

    loaded: bool = Field(description="Whether it answers requests.")
    default: bool = Field(description="Whether it answers requests that name no model.")
    supported_fmr: list[float] = Field(description="False match rates its calibration supports, highest first.")
    manifest: Manifest


class ModelList(Reply):
    """All models that the service knows."""

    items: list[Model]


class RoleModel(Reply):
    """A model in a role. Name and version are null where this process does not know the model."""

    name: str | None
    version: str | None
    digest: str
    loaded: bool

    @classmethod
    def of(cls, digest: str, models: Models) -> Self:
        manifest = models.known.get(digest)
        return cls(
            name=manifest.name if manifest else None,
            version=manifest.version if manifest else None,
            digest=digest,
            loaded=models.by_digest(digest) is not None,
        )


class Roles(Reply):
    """Champion and challenger, and since when."""

    champion: RoleModel
    challenger: RoleModel | None
    sample: float = Field(description="Share of the champion's decisions that are kept and compared.")
    action: Literal["settings", "set", "promote", "rollback"] = Field(
        description="What made it so. `settings`: nobody has set roles yet."
    )
    principal: str = Field(description="Who made it so.")
    at: datetime | None
    can_roll_back: bool

    @classmethod
    def of(cls, roles: Assignment, models: Models) -> Self:
        return cls(
            champion=RoleModel.of(roles.champion, models),
            challenger=None if roles.challenger is None else RoleModel.of(roles.challenger, models),
            sample=roles.sample,
            action=roles.action,
            principal=roles.principal,
            at=roles.at,
            can_roll_back=roles.previous is not None,
        )


class Proportion(Reply):
    """A count of trials, its share and the share's 95 % Wilson interval; null without trials."""

    count: int
    trials: int
    share: float | None
    ci95: tuple[float, float] | None

    @classmethod
    def of(cls, share: comparison.Share) -> Self:
        return cls(count=share.count, trials=share.trials, share=share.value, ci95=share.ci95)


class ObservedErrors(Reply):
    """Errors among the decisions that a client told the truth about."""

    route: Literal["verify", "identify"]
    false_match: Proportion = Field(description="Impostors accepted.")
    false_non_match: Proportion = Field(description="Genuine persons not accepted.")
    promised: float | None = Field(
        description="Rate that the thresholds promise, in the mean over the impostors: the FMR of a verification, the "
        "FPIR of an identification; null when unknown."
    )

    @classmethod
    def of(cls, observed: comparison.Observed) -> Self:
        return cls(
            route=observed.route,
            false_match=Proportion.of(observed.false_matches),
            false_non_match=Proportion.of(observed.false_non_matches),
            promised=observed.promised,
        )


class ComparedModel(RoleModel):
    """One model of a comparison."""

    seconds: dict[str, float] = Field(description="Time to embed and to compare or search: p50, p95 and p99.")
    observed: list[ObservedErrors] = Field(description="What it got wrong, by kind of decision.")


class DecisionTable(Reply):
    """Cases by what each model decided; `no_match` includes ambiguous identifications."""

    both_match: int
    only_champion: int
    only_challenger: int
    neither: int


class Comparison(Reply):
    """How two models decided the same live requests."""

    cases: int = Field(description="Cases kept that the query chose, one for each face decided.")
    agreement: Proportion = Field(description="The same decision and, where both match, the same subject.")
    decisions: DecisionTable
    correlation: float | None = Field(description="Pearson's, of the two scores; null when they do not vary.")
    champion: ComparedModel
    challenger: ComparedModel | None
    since: datetime | None
    until: datetime | None

    @classmethod
    def of(cls, made: comparison.Report, choice: Choice, models: Models) -> Self:
        return cls(
            cases=made.cases,
            agreement=Proportion.of(made.agreement),
            decisions=DecisionTable(
                both_match=made.table[True, True],
                only_champion=made.table[True, False],
                only_challenger=made.table[False, True],
                neither=made.table[False, False],
            ),
            correlation=made.correlation,
            champion=_compared(choice.champion, made.champion, models),
            challenger=None if choice.challenger is None else _compared(choice.challenger, made.challenger, models),
            since=choice.since,
            until=choice.until,
        )


class Case(Record):
    """One decision of the champion and what the challenger made of it. Null: no challenger, or nothing to tell."""

    at: datetime
    request_id: str
    route: Literal["verify", "identify"]
    face: int
    collection: str | None
    champion: str = Field(description="Digest of the model that answered.")
    champion_score: float | None
    champion_threshold: float
    champion_fmr: float | None = Field(description="Promised: the FMR of a verification, the FPIR of a search.")
    champion_decision: str
    champion_rank: int | None = Field(description="Where the champion's list has the challenger's first subject.")
    champion_seconds: float
    challenger: str | None
    challenger_score: float | None
    challenger_threshold: float | None
    challenger_fmr: float | None
    challenger_decision: str | None
    challenger_rank: int | None = Field(description="Where the challenger's list has the champion's first subject.")
    challenger_seconds: float | None
    agree: bool | None
    outcome: Literal["genuine", "impostor"] | None


class Reembedding(Reply):
    """A job that makes a model's templates from kept crops."""

    id: str
    model: RoleModel
    collection: str | None = Field(description="Null: all collections.")
    state: Literal["running", "done", "cancelled"]
    rate: float = Field(description="Most faces a second.")
    total: int = Field(description="Faces with a crop and without a template when the job began.")
    made: int = Field(description="Templates made.")
    failed: int = Field(description="Faces whose crop cannot be used.")
    left: int = Field(description="Faces still to be looked at.")
    principal: str
    at: datetime
    ended_at: datetime | None

    @classmethod
    def of(cls, job: Job, models: Models) -> Self:
        return cls(
            id=job.id,
            model=RoleModel.of(job.model, models),
            collection=job.collection,
            state=job.state,
            rate=job.rate,
            total=job.total,
            made=job.made,
            failed=job.failed,
            left=job.left,
            principal=job.principal,
            at=job.at,
            ended_at=job.ended_at,
        )


class CollectionCoverage(Record):
    """How far a model reaches in one collection, in faces."""

    collection: str
    faces: int
    templates: int = Field(description="Faces with a template of the model itself.")
    shared: int = Field(description="Faces without one, and with one of another model of its space.")
    from_crops: int = Field(description="Faces without one whose crop is kept: it can be made.")
    out_of_reach: int = Field(description="Faces without any template of its space: no probe of it finds them.")
    to_be_seen: int = Field(description="Those among them without a crop: only a new photograph helps.")


class Coverage(Reply):
    """How far a model reaches in the collections that the key may see."""

    model: ModelRef
    collections: list[CollectionCoverage]


class Health(Reply):
    """How the service is."""

    status: Literal["alive", "ready"]
    version: str


def _compared(digest: str, side: comparison.Side | None, models: Models) -> ComparedModel:
    role = RoleModel.of(digest, models)
    return ComparedModel(
        **role.model_dump(),
        seconds={} if side is None else _rounded(side.seconds),
        observed=[] if side is None else [ObservedErrors.of(observed) for observed in side.observed],
    )


def _face(found: FaceFound) -> dict[str, Any]:
    detection, quality = found.detection, found.quality
    x, y, width, height = (round(value, 2) for value in detection.box)
    return {
        "box": Box(x=x, y=y, width=width, height=height),
        "landmarks": [(round(float(px), 2), round(float(py), 2)) for px, py in detection.landmarks],
        "detection_score": round(detection.score, 4),
        "quality": Quality(
            eye_distance=round(quality.eye_distance, 2),
            sharpness=round(quality.sharpness, 4),
            brightness=round(quality.brightness, 4),
            contrast=round(quality.contrast, 4),
            turn=round(quality.turn, 4),
            cut=round(quality.cut, 4),
            reasons=[str(reason) for reason in quality.reasons],
        ),
    }


def _decided(result: engine.Verification | engine.Identification, request_id: str) -> dict[str, Any]:
    manifests = (result.model.manifest,) if result.reach is None else result.reach.models
    return {
        "threshold": result.threshold.value,
        "fmr": result.threshold.fmr,
        "fmr_basis": result.threshold.basis,
        "model": ModelRef.of(result.model),
        "reference_models": [ModelRef.described(manifest) for manifest in manifests],
        "calibration": "model" if result.reach is None else result.reach.calibration,
        "timings": _rounded(result.stages),
        "request_id": request_id,
    }


def _rounded(stages: Mapping[str, float]) -> Timings:
    return {name: round(seconds, 6) for name, seconds in stages.items()}


def _fpir(fmr: float | None, comparisons: int) -> float | None:
    return None if fmr is None else -math.expm1(comparisons * math.log1p(-fmr))
