"""Replies about the faces of an image."""

from __future__ import annotations

from typing import Any, Self

from pydantic import Field

from service.api.schemas.models import ModelRef
from service.api.schemas.reply import STAGES, Reply, Timings, rounded
from service.engine import results
from service.engine.enrolment_report import FaceReport
from service.face.detection.detection import roll_of

TOTAL = "Faces seen. Where not all are asked for, small ones may be missed."
TRUNCATED = "Whether `faces` lacks some of them: it holds the most prominent ones, up to a limit."


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
    recognisability: float | None = Field(
        default=None,
        description="How far the template can be trusted, 0 to 1; null where no template was made, or the model cannot "
        "tell.",
    )
    reasons: list[str] = Field(description="Why the face is unfit; empty when it is fit.", examples=[["too_small"]])


class Face(Reply):
    """A face found in an image."""

    box: Box
    landmarks: list[tuple[float, float]] = Field(
        description="Eyes, tip of the nose and corners of the mouth, from left to right with the face held upright; x "
        "and y in pixels of the image."
    )
    roll: float = Field(description="Degrees by which the head is turned clockwise in the image, -180 to 180.")
    detection_score: float = Field(description="How sure the detector is that this is a face, 0 to 1. Not a match.")
    quality: Quality

    @classmethod
    def of(cls, face: FaceReport) -> Self:
        """Describe a face; numbers are rounded to what can be told from a photograph."""
        return cls(**_face(face))


class EmbeddedFace(Face):
    """A face with its template: a unit vector in the model's space."""

    embedding: list[float]
    offset: float = Field(
        description="What the template adds to its scores: the score of two is their inner product and both offsets. "
        "0 where the model's scores are not normalised."
    )


class Detection(Reply):
    """The faces of an image, the most prominent first."""

    width: int = Field(description="Of the image once upright, in pixels.")
    height: int
    faces: list[Face]
    faces_total: int = Field(description=TOTAL)
    truncated: bool = Field(description=TRUNCATED)
    timings: Timings = Field(description=STAGES)
    request_id: str

    @classmethod
    def of(cls, result: results.Detection, request_id: str) -> Self:
        """Render a detection."""
        return cls(
            width=result.scene.width,
            height=result.scene.height,
            faces=[Face.of(FaceReport.of(face)) for face in result.scene.faces],
            faces_total=result.scene.total,
            truncated=result.scene.total > len(result.scene.faces),
            timings=rounded(result.seconds),
            request_id=request_id,
        )


class Embedding(Reply):
    """The templates of an image's faces."""

    width: int = Field(description="Of the image once upright, in pixels.")
    height: int
    model: ModelRef
    faces: list[EmbeddedFace]
    faces_total: int = Field(description=TOTAL)
    truncated: bool = Field(description=TRUNCATED)
    timings: Timings = Field(description=STAGES)
    request_id: str

    @classmethod
    def of(cls, result: results.Embedding, request_id: str) -> Self:
        """Render the templates of an image."""
        rows = zip(result.scene.faces, result.vectors.tolist(), result.offsets.tolist(), strict=True)
        return cls(
            width=result.scene.width,
            height=result.scene.height,
            model=ModelRef.of(result.model.manifest),
            faces=[
                EmbeddedFace(**_face(FaceReport.of(face)), embedding=vector, offset=offset)
                for face, vector, offset in rows
            ],
            faces_total=result.scene.total,
            truncated=result.scene.total > len(result.scene.faces),
            timings=rounded(result.seconds),
            request_id=request_id,
        )


def _face(face: FaceReport) -> dict[str, Any]:
    x, y, width, height = (round(value, 2) for value in face.box)
    digits = {"eye_distance": 2}
    return {
        "box": Box(x=x, y=y, width=width, height=height),
        "landmarks": [(round(px, 2), round(py, 2)) for px, py in face.landmarks],
        "roll": round(roll_of(face.landmarks), 1),
        "detection_score": round(face.detection_score, 4),
        "quality": Quality(
            **{name: round(value, digits.get(name, 4)) for name, value in face.quality.items()},
            reasons=list(face.reasons),
        ),
    }
