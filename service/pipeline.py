"""From the bytes of a photograph to its faces: decoded, detected, aligned, assessed."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from service.face.align import align
from service.face.detect import Detector
from service.face.detection import Detection
from service.face.errors import NoFace, SeveralFaces
from service.face.image import ImageLimits, Photo, decode
from service.face.quality import Quality, QualityLimits, assess
from service.timing import Stages

ENOUGH_EYE_DISTANCE = 48.0  # pixels; the canonical crop has 35 between the eyes, and more adds nothing
RIVAL_SHARE = 0.2  # a second face smaller than this share of the first is a passer-by, not a rival


@dataclass(frozen=True, slots=True)
class FaceFound:
    """One face: where it is, in pixels of the upright original, how fit it is, and its canonical crop."""

    detection: Detection
    quality: Quality
    crop: NDArray[np.uint8]


@dataclass(frozen=True, slots=True)
class Scene:
    """A photograph's size in pixels, upright, and its faces, the most prominent first."""

    width: int
    height: int
    faces: tuple[FaceFound, ...]

    def prominent(self) -> FaceFound:
        """The face the photograph is of. Raises: NoFace."""
        if not self.faces:
            raise NoFace("no face was found in the image")
        return self.faces[0]

    def single(self) -> FaceFound:
        """The only face; much smaller faces in the background do not count. Raises: NoFace, SeveralFaces."""
        face = self.prominent()
        rivals = [f for f in self.faces[1:] if f.detection.area >= RIVAL_SHARE * face.detection.area]
        if rivals:
            raise SeveralFaces(f"{len(rivals) + 1} faces were found where one is asked for")
        return face


@dataclass(frozen=True, slots=True)
class Perception:
    """Sees faces. `decode_side`: a JPEG's longer side after decoding is at least this, where it has as much."""

    detector: Detector
    images: ImageLimits
    quality: QualityLimits
    decode_side: int = 1600

    def look(self, data: bytes, stages: Stages, thorough: bool = False, limit: int | None = None) -> Scene:
        """Find the faces of one photograph, the `limit` most prominent ones when given.

        Big JPEGs are decoded at reduced size; a face that then has too few pixels is cut from a full decode.

        Raises: ImageError, InferenceFailed, Abandoned.
        """
        with stages.stage("decode"):
            photo = decode(data, self.images, self.decode_side)
        with stages.stage("detect"):
            found = self.detector.detect(photo.pixels, thorough)
        found.sort(key=lambda face: _prominence(face, photo), reverse=True)
        found = [face for face in found if _has_shape(face)][:limit]
        full = photo
        if photo.scale < 1 and any(_eye_distance(face) < ENOUGH_EYE_DISTANCE for face in found):
            with stages.stage("decode"):
                full = decode(data, self.images)
        with stages.stage("align"):
            faces = tuple(self._cut(face, photo, full) for face in found)
        return Scene(photo.width, photo.height, faces)

    def _cut(self, face: Detection, photo: Photo, full: Photo) -> FaceFound:
        source = full if _eye_distance(face) < ENOUGH_EYE_DISTANCE else photo
        crop = align(source.pixels, face.landmarks * np.float32(source.scale / photo.scale))
        height, width = photo.pixels.shape[:2]
        quality = assess(face, crop, (width, height), photo.scale, self.quality)
        x, y, w, h = (value / photo.scale for value in face.box)
        original = Detection((x, y, w, h), face.score, face.landmarks / np.float32(photo.scale))
        return FaceFound(original, quality, crop)


def _eye_distance(face: Detection) -> float:
    return float(np.linalg.norm(face.landmarks[1] - face.landmarks[0]))


def _has_shape(face: Detection) -> bool:
    """Landmarks that coincide cannot be aligned, and belong to no face."""
    return bool(np.all(np.isfinite(face.landmarks))) and _eye_distance(face) > 1.0


def _prominence(face: Detection, photo: Photo) -> float:
    """Area, weighed down towards the picture's edge: the subject of a photograph is large and central."""
    height, width = photo.pixels.shape[:2]
    x, y, w, h = face.box
    dx, dy = (x + w / 2) / width - 0.5, (y + h / 2) / height - 0.5
    return face.area * float(np.exp(-6.0 * (dx * dx + dy * dy)))
