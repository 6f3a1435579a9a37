"""What the service answers, as frozen dataclasses. Fields that a later service adds are passed over."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import Any, Generic, Literal, TypeVar

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class ModelRef:
    """The model behind a result, and the SHA-256 of its file."""

    name: str
    version: str
    digest: str


@dataclass(frozen=True, slots=True)
class Box:
    """A rectangle in pixels of the upright image; parts of it may lie outside."""

    x: float
    y: float
    width: float
    height: float


@dataclass(frozen=True, slots=True)
class Quality:
    """Measured quality of a face, and why it is unfit, if it is."""

    eye_distance: float
    sharpness: float
    brightness: float
    contrast: float
    turn: float
    cut: float
    reasons: tuple[str, ...]
    recognisability: float | None = None


@dataclass(frozen=True, slots=True)
class Face:
    """A face found in an image. Landmarks: eyes, nose, corners of the mouth; x and y in pixels of the image."""

    box: Box
    landmarks: tuple[tuple[float, float], ...]
    roll: float
    detection_score: float
    quality: Quality


@dataclass(frozen=True, slots=True)
class EmbeddedFace(Face):
    """A face with its template: a unit vector, and what it adds to its scores."""

    embedding: tuple[float, ...]
    offset: float


@dataclass(frozen=True, slots=True)
class Detection:
    """The faces of an image, the most prominent first."""

    width: int
    height: int
    faces: tuple[Face, ...]
    faces_total: int
    truncated: bool
    timings: dict[str, float]
    request_id: str


@dataclass(frozen=True, slots=True)
class Embedding:
    """The templates of an image's faces."""

    width: int
    height: int
    model: ModelRef
    faces: tuple[EmbeddedFace, ...]
    faces_total: int
    truncated: bool
    timings: dict[str, float]
    request_id: str


@dataclass(frozen=True, slots=True)
class Candidate:
    """A stored subject with its best face."""

    rank: int
    subject: str
    subject_id: str
    face_id: str
    score: float
    reference_model: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Decided:
    """What every decision carries: the threshold, the false match rate it stands for, the model, the time it took."""

    threshold: float
    fmr: float | None
    fmr_basis: str
    fmr_ci95: tuple[float, float] | None
    model: ModelRef
    reference_models: tuple[ModelRef, ...]
    calibration: str
    timings: dict[str, float]
    request_id: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Verification(Decided):
    """The decision whether two faces are of one person."""

    decision: Literal["match", "no_match"]
    score: float
    probe: Face
    probe_faces: int
    reference: Face | None
    subject: Candidate | None
    pictures: int

    @property
    def matched(self) -> bool:
        """Whether the decision is `match`."""
        return self.decision == "match"


@dataclass(frozen=True, slots=True)
class IdentifiedFace:
    """The decision for one face of an image: whether rank 1 is this person."""

    decision: Literal["match", "no_match", "ambiguous"]
    margin: float | None
    candidates: tuple[Candidate, ...]
    face: Face


@dataclass(frozen=True, slots=True, kw_only=True)
class Identification(Decided):
    """The decisions for the faces of one image against a collection."""

    collection: str
    comparisons: int
    people: int
    fpir: float | None
    unreachable: int
    faces: tuple[IdentifiedFace, ...]
    faces_total: int
    truncated: bool


@dataclass(frozen=True, slots=True)
class Subject:
    """An enrolled person; `faces` counts the faces enrolled now."""

    id: str
    collection: str
    name: str
    metadata: dict[str, Any]
    created_at: datetime
    updated_at: datetime
    faces: int
    expires_at: datetime | None = None


@dataclass(frozen=True, slots=True)
class MergedSubject:
    """The person who stays, and what became of the other: the id, and how many faces changed hands."""

    subject: Subject
    merged_id: str
    faces: int
    request_id: str


@dataclass(frozen=True, slots=True)
class Reason:
    """Why an image was not enrolled; `reasons` where its face is unfit."""

    code: str
    detail: str
    reasons: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class EnrolledImage:
    """What became of one image, in the order sent: the id of its face, or a problem."""

    face_id: str | None
    face: Face | None
    problem: Reason | None


@dataclass(frozen=True, slots=True)
class Duplicate:
    """Another subject who has this face too."""

    subject: str
    score: float


@dataclass(frozen=True, slots=True)
class Enrollment:
    """A committed enrolment. It is on disk, and the next search finds it."""

    subject: Subject
    created: bool
    images: tuple[EnrolledImage, ...]
    duplicates: tuple[Duplicate, ...]
    models: tuple[ModelRef, ...]
    timings: dict[str, float]
    request_id: str


@dataclass(frozen=True, slots=True)
class Collection:
    """A named set of subjects, searched as one gallery; how many are in it, and how it treats unfit faces."""

    name: str
    created_at: datetime
    keep_crops: bool
    quality: Literal["enforce", "report"] | None
    metadata: dict[str, Any]
    subjects: int
    faces: int


@dataclass(frozen=True, slots=True)
class StoredFace:
    """One enrolled face, without its templates."""

    id: str
    collection: str
    subject: str
    created_at: datetime
    quality: dict[str, float]
    box: tuple[float, ...]
    landmarks: tuple[tuple[float, float], ...]
    source_sha256: str
    models: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Receipt:
    """Proof of an erasure: what was removed, and how much of it."""

    id: str
    kind: str
    target: str
    faces: int
    templates: int
    at: datetime


@dataclass(frozen=True, slots=True)
class Model:
    """A model that the service knows: the manifest as it stands in its folder, and what it runs on while loaded."""

    loaded: bool
    default: bool
    supported_fmr: tuple[float, ...]
    score: str
    manifest: dict[str, Any]
    provider: str | None = None

    @property
    def name(self) -> str:
        """Its name in requests."""
        return str(self.manifest["name"])


@dataclass(frozen=True, slots=True)
class ModelList:
    """All models that the service knows."""

    items: tuple[Model, ...]


@dataclass(frozen=True, slots=True)
class CallingKey:
    """The key that a request came with, without its secret; `collections` is None where it may touch all."""

    id: str | None
    name: str
    scopes: tuple[str, ...]
    collections: tuple[str, ...] | None
    expires_at: datetime | None


@dataclass(frozen=True, slots=True)
class Health:
    """How the service is."""

    status: Literal["alive", "ready"]
    version: str


@dataclass(frozen=True, slots=True)
class Page(Generic[T]):
    """A part of a list; `next_cursor` asks for the part after it, None at the end."""

    items: tuple[T, ...]
    next_cursor: str | None
