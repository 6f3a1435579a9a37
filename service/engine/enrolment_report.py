"""What an enrolment made of each image, as plain data: kept with the enrolment and read again when it is repeated.

The record is versioned. It holds what an answer says of the images, and neither a crop nor a template.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final, Literal

from pydantic import TypeAdapter

from service.errors import FacetError
from service.face.embedding.embed import Embedder
from service.face.errors import FaceUnfit
from service.face.quality import Quality
from service.pipeline import FaceFound

VERSION: Final = 1


@dataclass(frozen=True, slots=True)
class FaceReport:
    """A face that was found: box (x, y, width, height) and five landmarks in pixels of the upright photograph."""

    box: tuple[float, float, float, float]
    landmarks: tuple[tuple[float, float], ...]
    detection_score: float
    quality: Mapping[str, float]
    reasons: tuple[str, ...]
    """Why the face is unfit; none when it is fit."""

    @classmethod
    def of(cls, face: FaceFound) -> FaceReport:
        """Describe a face without its crop."""
        x, y, width, height = (float(value) for value in face.detection.box)
        points = tuple((float(px), float(py)) for px, py in face.detection.landmarks)
        reasons = tuple(str(reason) for reason in face.quality.reasons)
        return cls((x, y, width, height), points, float(face.detection.score), measures(face.quality), reasons)


@dataclass(frozen=True, slots=True)
class Refusal:
    """Why an image was not enrolled: the error's code and message, and for an unfit face every reason."""

    code: str
    detail: str
    reasons: tuple[str, ...] = ()

    @classmethod
    def of(cls, error: FacetError) -> Refusal:
        """Describe an error."""
        return cls(error.code, str(error), tuple(error.reasons) if isinstance(error, FaceUnfit) else ())


@dataclass(frozen=True, slots=True)
class ImageReport:
    """What became of one image: the id of its new face, or the refusal."""

    face_id: str | None
    face: FaceReport | None
    refusal: Refusal | None


@dataclass(frozen=True, slots=True)
class ModelReport:
    """A model whose templates were made."""

    name: str
    version: str
    digest: str

    @classmethod
    def of(cls, embedder: Embedder) -> ModelReport:
        """Name an embedder."""
        manifest = embedder.manifest
        return cls(manifest.name, manifest.version, manifest.sha256)


@dataclass(frozen=True, slots=True)
class EnrolmentReport:
    """The images in the order given, the models that made templates, and the seconds of each stage until the commit."""

    images: tuple[ImageReport, ...]
    models: tuple[ModelReport, ...]
    seconds: Mapping[str, float]
    version: Literal[1] = VERSION


def measures(quality: Quality) -> dict[str, float]:
    """List the measured values of a face by their names."""
    return {
        "eye_distance": quality.eye_distance,
        "sharpness": quality.sharpness,
        "brightness": quality.brightness,
        "contrast": quality.contrast,
        "turn": quality.turn,
        "cut": quality.cut,
        **({} if quality.recognisability is None else {"recognisability": quality.recognisability}),
    }


_ADAPTER = TypeAdapter(EnrolmentReport)


def dump_report(report: EnrolmentReport) -> dict[str, Any]:
    """Turn a report into JSON values."""
    values: dict[str, Any] = _ADAPTER.dump_python(report, mode="json")
    return values


def load_report(values: Mapping[str, Any]) -> EnrolmentReport:
    """Read a report again.

    Raises:
        pydantic.ValidationError: it is of another version, or no report.
    """
    return _ADAPTER.validate_python(values)
