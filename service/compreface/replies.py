"""What CompreFace answers. Fields that are None are left out."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray
from pydantic import BaseModel, ConfigDict

from service.compreface.requests import CALCULATOR, LANDMARKS, Options
from service.gallery import records
from service.models import Models
from service.pipeline import FaceFound

Seconds = Mapping[str, float]
STAGES = {"detector": ("decode", "detect", "align"), CALCULATOR: ("embed",)}
"""CompreFace's two parts of the work, by ours."""


class Reply(BaseModel):
    """What all replies share."""

    model_config = ConfigDict(frozen=True)


class Box(Reply):
    """Where a face is, in whole pixels of the upright picture, and how certain it is one."""

    probability: float
    x_min: int
    y_min: int
    x_max: int
    y_max: int


class SeenFace(Reply):
    """A face of a picture. Landmarks are the eyes, the nose and the corners of the mouth."""

    box: Box
    landmarks: list[tuple[int, int]] | None = None
    embedding: list[float] | None = None
    execution_time: dict[str, float] | None = None


class SubjectSimilarity(Reply):
    """A subject, and how similar its nearest face is."""

    subject: str
    similarity: float


class RecognisedFace(SeenFace):
    """A face of a picture, and who is most like it."""

    subjects: list[SubjectSimilarity]


class ComparedFace(SeenFace):
    """A face of a picture, and how similar it is to the one in question; the subject of that, where it is stored."""

    similarity: float
    subject: str | None = None


class Detection(Reply):
    """The faces of a picture."""

    result: list[SeenFace]
    plugins_versions: dict[str, str] | None = None


class Recognition(Reply):
    """The faces of a picture, and who they are most like."""

    result: list[RecognisedFace]
    plugins_versions: dict[str, str] | None = None


class FaceVerification(Reply):
    """The faces of a picture, each compared with a stored one."""

    result: list[ComparedFace]
    plugins_versions: dict[str, str] | None = None


class PairMatch(Reply):
    """The face of the source, and each face of the target compared with it."""

    source_image_face: SeenFace
    face_matches: list[ComparedFace]
    plugins_versions: dict[str, str] | None = None


class PairVerification(Reply):
    """The one result of comparing two pictures."""

    result: list[PairMatch]


class EmbeddingSubjects(Reply):
    """A template, and who is most like it."""

    embedding: tuple[float, ...]
    similarities: list[SubjectSimilarity]


class EmbeddingRecognition(Reply):
    """Templates, and who is most like them."""

    result: list[EmbeddingSubjects]


class EmbeddingSimilarity(Reply):
    """A template, and how similar it is to the one in question."""

    embedding: tuple[float, ...]
    similarity: float


class EmbeddingVerification(Reply):
    """Templates, the most similar first."""

    result: list[EmbeddingSimilarity]


class SubjectName(Reply):
    """The name of a subject."""

    subject: str


class SubjectNames(Reply):
    """The names of all subjects."""

    subjects: list[str]


class Updated(Reply):
    """Whether something was changed."""

    updated: bool


class Deleted(Reply):
    """How many were deleted."""

    deleted: int


class StoredFace(Reply):
    """An enrolled face by its id, and whose it is."""

    image_id: str
    subject: str


class FacePage(Reply):
    """A page of enrolled faces."""

    faces: list[StoredFace]
    page_number: int
    page_size: int
    total_pages: int
    total_elements: int

    @classmethod
    def of(cls, faces: list[records.Face], total: int, number: int, size: int) -> FacePage:
        """Describe a page of so many faces of so many in total."""
        return cls(
            faces=[StoredFace(image_id=face.id, subject=face.subject) for face in faces],
            page_number=number,
            page_size=size,
            total_pages=-(-total // size),
            total_elements=total,
        )


def describe(
    face: FaceFound, seconds: Seconds, options: Options, vector: NDArray[np.float32] | None = None
) -> dict[str, Any]:
    """The fields of a face: its box, and what the plugins asked for tell of it."""
    x, y, width, height = face.detection.box
    fields: dict[str, Any] = {
        "box": Box(
            probability=round(float(face.detection.score), 5),
            x_min=round(x),
            y_min=round(y),
            x_max=round(x + width),
            y_max=round(y + height),
        )
    }
    if LANDMARKS in options.plugins:
        fields["landmarks"] = [(round(float(x)), round(float(y))) for x, y in face.detection.landmarks]
    if CALCULATOR in options.plugins and vector is not None:
        fields["embedding"] = vector.tolist()
    if options.status:
        fields["execution_time"] = {
            part: round(1000 * sum(seconds.get(stage, 0.0) for stage in stages), 1) for part, stages in STAGES.items()
        }
    return fields


def versions(models: Models, calculator: str, options: Options) -> dict[str, str] | None:
    """The models behind an answer, where its status is asked for."""
    return {"detector": models.detector.manifest.identity, CALCULATOR: calculator} if options.status else None
