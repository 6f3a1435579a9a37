"""From the bytes of a photograph to its faces: decoded, detected, aligned, assessed."""

from __future__ import annotations

from dataclasses import dataclass
from math import ceil, dist

import cv2
import numpy as np
from numpy.typing import NDArray

from service.face.align import CANONICAL_LANDMARKS, CROP, align
from service.face.decoding.image import ImageLimits, Photo, decode
from service.face.detection.detect import Detector
from service.face.detection.detection import Detection
from service.face.detection.search import RIVAL_SHARE, Seek
from service.face.errors import NoFace, SeveralFaces
from service.face.quality import Quality, QualityLimits, assess
from service.runtime.timing import Stages

ENOUGH_EYE_DISTANCE = 48.0  # pixels; the canonical crop has 35 between the eyes, and more adds nothing
USUAL_SIDE, FINE_SIDE = 900, 1600


@dataclass(frozen=True, slots=True)
class FaceFound:
    """One face: where it is, in pixels of the upright original, how fit it is, and its canonical crop."""

    detection: Detection
    quality: Quality
    crop: NDArray[np.uint8]


@dataclass(frozen=True, slots=True)
class Scene:
    """A photograph's size in pixels, upright, and its faces, the most prominent first.

    `total` is how many were seen, of which `faces` holds the first; `rivals` how many may be taken for the one the
    photograph is of: as large, or nearly, and faces for certain.
    """

    width: int
    height: int
    faces: tuple[FaceFound, ...]
    total: int
    rivals: int

    def prominent(self) -> FaceFound:
        """The face the photograph is of. Raises: NoFace."""
        if not self.faces:
            raise NoFace("no face was found in the image")
        return self.faces[0]

    def single(self) -> FaceFound:
        """The only face; much smaller faces in the background do not count. Raises: NoFace, SeveralFaces."""
        face = self.prominent()
        if self.rivals:
            raise SeveralFaces(f"{self.rivals + 1} faces were found where one is asked for")
        return face


@dataclass(frozen=True, slots=True)
class Perception:
    """Sees faces.

    A JPEG is decoded at the smallest size whose longer side is at least `usual_side`, or `fine_side` where that shows
    no face; whole, where all faces are sought.
    """

    detector: Detector
    images: ImageLimits
    quality: QualityLimits
    usual_side: int = USUAL_SIDE
    fine_side: int = FINE_SIDE
    least_score: float = 0.0
    """What the detector scores less is no face; below its own least score this asks for nothing."""

    def look(
        self, data: bytes, stages: Stages, seek: Seek = Seek.ALL, limit: int | None = None, share: float = 0.0
    ) -> Scene:
        """Find the faces of one photograph, and cut out the `limit` most prominent ones, or each.

        Only those are cut out that have this `share` of the first one's area. A face that has too few pixels in a JPEG
        decoded at reduced size is cut from a larger decode.

        Raises: ImageError, InferenceFailed, Abandoned.
        """
        for side in (None,) if seek is Seek.ALL else (self.usual_side, self.fine_side):
            with stages.stage("decode"):
                photo = decode(data, self.images, side)
            with stages.stage("detect"):
                seen = self.detector.detect(photo.pixels, seek)
                likely = [face for face in seen if _has_shape(face) and face.as_sure_as(self.least_score)]
            if likely or photo.scale == 1:
                break
        chosen = [face for face in likely if face.area >= share * likely[0].area][:limit]
        full = photo
        if photo.scale < 1 and any(_eye_distance(face) < ENOUGH_EYE_DISTANCE for face in chosen):
            enlargement = ENOUGH_EYE_DISTANCE / min(map(_eye_distance, chosen))
            with stages.stage("decode"):
                full = decode(data, self.images, ceil(max(photo.pixels.shape[:2]) * enlargement))
        with stages.stage("align"):
            faces = tuple(self._cut(face, photo, full) for face in chosen)
        return Scene(photo.width, photo.height, faces, len(likely), self._count_rivals(likely))

    def _cut(self, face: Detection, photo: Photo, full: Photo) -> FaceFound:
        source = full if _eye_distance(face) < ENOUGH_EYE_DISTANCE else photo
        crop = align(source.pixels, face.landmarks * np.float32(source.scale / photo.scale))
        height, width = photo.pixels.shape[:2]
        quality = assess(face, crop, (width, height), photo.scale, self.quality)
        x, y, w, h = (value / photo.scale for value in face.box)
        original = Detection((x, y, w, h), face.score, face.landmarks / np.float32(photo.scale))
        return FaceFound(original, quality, crop)

    def _count_rivals(self, faces: list[Detection]) -> int:
        """Faces beside the first that are neither passers-by nor doubtful."""
        return sum(
            face.area >= RIVAL_SHARE * faces[0].area and not self.quality.is_doubtful(face) for face in faces[1:]
        )


@dataclass(frozen=True, slots=True)
class WholePicture(Perception):
    """Takes each picture for a face that was cut out before: it is the canonical crop, whatever its size."""

    def look(
        self, data: bytes, stages: Stages, seek: Seek = Seek.ALL, limit: int | None = None, share: float = 0.0
    ) -> Scene:
        """Decode the picture, and bring it to the size of a crop; its face is all of it.

        Raises: ImageError, Abandoned.
        """
        with stages.stage("decode"):
            photo = decode(data, self.images, None)
        with stages.stage("align"):
            height, width = photo.pixels.shape[:2]
            scale = np.array([width, height], np.float32) / CROP
            crop = np.asarray(cv2.resize(photo.pixels, (CROP, CROP), interpolation=cv2.INTER_AREA), np.uint8)
            face = Detection(
                (0.0, 0.0, float(width), float(height)), 1.0, np.asarray(CANONICAL_LANDMARKS * scale, np.float32)
            )
            quality = assess(face, crop, (width, height), 1.0, self.quality)
        return Scene(photo.width, photo.height, (FaceFound(face, quality, crop),), 1, 0)


def _eye_distance(face: Detection) -> float:
    return dist(*face.landmarks[:2].tolist())


def _has_shape(face: Detection) -> bool:
    """Landmarks that coincide cannot be aligned, and belong to no face."""
    return bool(np.all(np.isfinite(face.landmarks))) and _eye_distance(face) > 1.0
