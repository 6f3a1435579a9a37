"""Pictures to canonical crops, through the very detector and template that serve."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import cv2
import numpy as np
from numpy.typing import NDArray

from service.face.align import CROP, MARGIN, CANONICAL_LANDMARKS, align, similarity
from service.face.detection.detect import Detector
from service.face.detection.detection import Detection
from service.face.decoding.image import ImageLimits, decode

LIMITS = ImageLimits(max_bytes=50 * 1024 * 1024, max_pixels=100_000_000)
Which = Literal["largest", "centre"]


@dataclass(frozen=True, slots=True)
class Cut:
    """A canonical crop, RGB uint8 (128, 128, 3), and its five landmarks (5, 2) in crop pixels where they are known."""

    crop: NDArray[np.uint8]
    landmarks: NDArray[np.float32] | None


def read(data: bytes) -> NDArray[np.uint8]:
    """Decode a picture to RGB uint8 (H, W, 3).

    Raises:
        ImageError: The image cannot be decoded.
    """
    return decode(data, LIMITS).pixels


def choose(faces: list[Detection], width: int, height: int, which: Which) -> Detection | None:
    """The largest face, or the one whose box contains or is nearest to the picture's centre; None without faces."""
    if which == "largest":
        return max(faces, key=lambda face: face.area, default=None)

    def distance(face: Detection) -> float:
        x, y, w, h = face.box
        return float(np.hypot(x + w / 2 - width / 2, y + h / 2 - height / 2))

    return min(faces, key=distance, default=None)


def cut_face(pixels: NDArray[np.uint8], face: Detection) -> Cut:
    """Warp a detected face to the canonical crop.

    Raises:
        ValueError: For degenerate landmarks.
    """
    matrix = similarity(face.landmarks)
    moved = face.landmarks @ matrix[:, :2].T + matrix[:, 2]
    return Cut(align(pixels, face.landmarks), moved.astype(np.float32))


def cut_centre(pixels: NDArray[np.uint8]) -> Cut:
    """The middle of a picture in which no face was found, scaled as the aligned releases of LFW are.

    Benchmarks count every pair; a face that is not found must still be compared, badly.
    """
    height, width = pixels.shape[:2]
    side = round(min(height, width) * 0.6)
    y, x = (height - side) // 2, (width - side) // 2
    crop = cv2.resize(pixels[y : y + side, x : x + side], (CROP, CROP), interpolation=cv2.INTER_AREA)
    return Cut(np.asarray(crop, dtype=np.uint8), None)


def from_aligned(pixels: NDArray[np.uint8]) -> Cut:
    """An already aligned crop as canonical crop: 128x128 as it is, 112x112 with its border repeated over the margin.

    Raises:
        ValueError: For any other size.
    """
    if pixels.shape == (CROP, CROP, 3):
        return Cut(pixels, None)
    inner = CROP - 2 * MARGIN
    if pixels.shape == (inner, inner, 3):
        padded = cv2.copyMakeBorder(pixels, MARGIN, MARGIN, MARGIN, MARGIN, cv2.BORDER_REPLICATE)
        return Cut(np.asarray(padded, dtype=np.uint8), None)
    raise ValueError(
        f"an aligned crop has {CROP}x{CROP} or {inner}x{inner} pixels, not {pixels.shape[1]}x{pixels.shape[0]}"
    )


def find_landmarks(crop: NDArray[np.uint8], detector: Detector) -> NDArray[np.float32] | None:
    """The landmarks (5, 2) of the face in a canonical crop, or None. The crop gets a border: detectors want a head."""
    border = CROP // 2
    padded = cv2.copyMakeBorder(crop, border, border, border, border, cv2.BORDER_REPLICATE)
    faces = detector.detect(np.asarray(padded, dtype=np.uint8))
    near = [f.landmarks - border for f in faces]
    errors = [float(np.abs(points - CANONICAL_LANDMARKS).max()) for points in near]
    best = int(np.argmin(errors)) if errors else -1
    # a face that lies elsewhere in the crop is not the one that was aligned
    return near[best].astype(np.float32) if errors and errors[best] < CROP / 8 else None
