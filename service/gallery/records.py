"""What the gallery takes and gives: plain frozen records, free of storage."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from enum import StrEnum
from typing import Any, TypeVar

import numpy as np
from numpy.typing import NDArray

from service.index.base import Matrix
from service.index.scoring import Scoring

Vector = NDArray[np.float32]
T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Collection:
    """A named set of subjects that is searched as one gallery."""

    name: str
    created_at: datetime
    keep_crops: bool
    metadata: Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class Subject:
    """One enrolled person; `faces` counts the faces enrolled now."""

    id: str
    collection: str
    name: str
    metadata: Mapping[str, Any]
    created_at: datetime
    updated_at: datetime
    faces: int


@dataclass(frozen=True, slots=True)
class Face:
    """One enrolled face of a subject, without its templates."""

    id: str
    collection: str
    subject_id: str
    subject: str
    created_at: datetime
    quality: Mapping[str, float]
    box: tuple[float, ...]
    """x, y, width, height in pixels of the upright photograph."""
    landmarks: tuple[tuple[float, float], ...]
    """Five points, x and y in the same pixels."""
    source_sha256: str
    models: tuple[str, ...]
    """Digests of the models that have a template of this face."""


@dataclass(frozen=True, slots=True)
class NewFace:
    """A face to enrol: one (D,) float32 unit template per model digest."""

    id: str
    templates: Mapping[str, Vector]
    quality: Mapping[str, float] = field(default_factory=dict)
    box: tuple[float, ...] = ()
    landmarks: tuple[tuple[float, float], ...] = ()
    source_sha256: str = ""
    crop: bytes | None = None
    """The aligned crop, encoded; kept only in collections that keep crops."""


@dataclass(frozen=True, slots=True)
class Hit:
    """A subject found, with its best face: cosine score in -1..1 and the digest of the template's model."""

    subject: str
    subject_id: str
    face_id: str
    score: float
    model: str


@dataclass(frozen=True, slots=True)
class Receipt:
    """Proof of an erasure. It names what was removed by id only."""

    id: str
    kind: str
    """collection, subject, face, or subjects: all of a collection."""
    target: str
    faces: int
    templates: int
    at: datetime


class DuplicatePolicy(StrEnum):
    """What an enrolment does when the face belongs to another subject already."""

    ALLOW = "allow"
    WARN = "warn"
    REJECT = "reject"


@dataclass(frozen=True, slots=True)
class DuplicateCheck:
    """Compare new faces with all others of the collection, before the commit, by one model at one threshold."""

    policy: DuplicatePolicy
    digest: str
    threshold: float
    references: tuple[str, ...] = ()
    """Models of the same space whose templates are looked through; empty: the same model's."""
    scoring: Callable[[str, Matrix, float], Scoring | None] = lambda *_: None
    """How cosines of (N, D) probes with the templates of a model become scores, and from which score on they matter."""


@dataclass(frozen=True, slots=True)
class Idempotency:
    """Names a request so that a repetition gets the first answer; `fingerprint` tells requests apart."""

    principal: str
    key: str
    fingerprint: str
    request_id: str = ""
    """The id of this request, which the answers to repetitions name."""


@dataclass(frozen=True, slots=True)
class Enrolment:
    """The outcome of one enrolment; the same, but for `replayed`, when the request is repeated."""

    subject: Subject
    faces: tuple[Face, ...]
    created: bool
    """Whether the subject is new."""
    duplicates: tuple[Hit, ...]
    request_id: str = ""
    """The request that enrolled, where it may be repeated."""
    report: Mapping[str, Any] | None = None
    """What the caller said of the enrolment, as JSON values; kept where the request may be repeated."""
    replayed: bool = False
    """Whether this is the outcome of a request of before, and nothing was enrolled."""


@dataclass(frozen=True, slots=True)
class KeptReply:
    """An enrolment's whole answer as JSON text, kept by a version that did not keep outcomes."""

    text: str


@dataclass(frozen=True, slots=True)
class Size:
    """How many templates of a model a collection holds, and the bytes of memory their index takes."""

    collection: str
    model: str
    templates: int
    memory: int
