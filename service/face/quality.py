"""What makes a face unfit for comparison, as measured values and reason codes."""

from __future__ import annotations

from dataclasses import dataclass, replace
from enum import StrEnum

import cv2
import numpy as np
from numpy.typing import NDArray

from service.face.align import similarity
from service.face.damage import INNER, Damage, measure_damage
from service.face.detection.detection import Detection

GRID: NDArray[np.float64] = np.stack(np.meshgrid(np.linspace(16, 112, 25), np.linspace(8, 120, 29)), axis=-1).reshape(
    -1, 2
)
GRID.setflags(write=False)
FRAME = tuple(complex(x, y) for x, y in GRID[[0, 24, -25, -1]])
"""Its corners, x + iy."""
EDGES: NDArray[np.float32] = np.array(
    [[0, 1, 2, 1, 0], [1, 0, -2, 0, 1], [2, -2, -8, -2, 2], [1, 0, -2, 0, 1], [0, 1, 2, 1, 0]], np.float32
)
"""The Laplacian of a 3x3 Gaussian, as one filter, in sixteenths: whole numbers are filtered faster."""
EDGES.setflags(write=False)


class Reason(StrEnum):
    """Why a face is unfit."""

    TOO_SMALL = "too_small"
    TOO_BLURRED = "too_blurred"
    TOO_DARK = "too_dark"
    TOO_BRIGHT = "too_bright"
    LOW_CONTRAST = "low_contrast"
    TURNED_AWAY = "turned_away"
    CUT_BY_BORDER = "cut_by_border"
    NOISY = "noisy"
    PIXELATED = "pixelated"
    MOTION_BLURRED = "motion_blurred"
    NEGATIVE = "negative"
    OCCLUDED = "occluded"
    UNRECOGNISABLE = "unrecognisable"
    DOUBTFUL = "doubtful"


@dataclass(frozen=True, slots=True)
class QualityLimits:
    """Bounds of fitness; the units are those of `Quality`.

    What the detector scores less than `min_detection_score` may be no face.

    Set on the LFW development view: of its photographs about 2 % fail, nearly all by `turn`; blurred by a
    Gaussian of 3 pixels (8 % of the eye distance) most do. Those of noise, blocks, motion, inverted colours, covers and
    burnt skin refuse two in a thousand of its photographs at most, and of a kind of UTKFace's faces about a fiftieth at
    most. Soft pictures need more evenness (`min_soft_direction`), and none is shaken whose upper part is even: the edge
    of a mask has a direction, too.
    """

    min_eye_distance: float = 14.0
    min_sharpness: float = 0.035
    min_brightness: float = 0.10
    max_brightness: float = 0.93
    min_contrast: float = 0.04
    max_turn: float = 0.70
    max_cut: float = 0.25
    min_detection_score: float = 0.85
    max_noise: float = 0.12
    max_blocks: float = 0.60
    max_block_noise: float = 0.002
    min_direction: float = 0.48
    min_soft_direction: float = 0.60
    min_direction_above: float = 0.70
    soft: float = 0.06
    min_warmth: float = -0.045
    max_gaze: float = 0.0
    max_covered: float = 0.50
    max_burnt: float = 0.10

    def is_doubtful(self, face: Detection) -> bool:
        """Whether what was found may be no face."""
        return face.score < self.min_detection_score

    def is_pixelated(self, damage: Damage) -> bool:
        """Whether a face is made of blocks: flat within them, which no camera leaves a picture."""
        return damage.blocks > self.max_blocks and damage.noise < self.max_block_noise

    def is_shaken(self, damage: Damage, sharpness: float) -> bool:
        """Whether camera or head moved: detail is missing in one direction, the more surely in a soft picture."""
        least = self.min_soft_direction if sharpness < self.soft else self.min_direction
        return damage.direction < least and damage.direction_above < self.min_direction_above

    def is_negative(self, damage: Damage) -> bool:
        """Whether colours are inverted: skin bluer than red, and eyes brighter than the cheeks."""
        return damage.warmth < self.min_warmth and damage.gaze > self.max_gaze


@dataclass(frozen=True, slots=True)
class CropQuality:
    """What a crop alone says of a face's quality; see `Quality`."""

    sharpness: float
    brightness: float
    contrast: float
    reasons: tuple[Reason, ...]


@dataclass(frozen=True, slots=True)
class Quality:
    """Measured quality of one face.

    `eye_distance`: pixels of the original photograph. `sharpness`: mean absolute Laplacian of the crop over its
    contrast, higher is sharper. `brightness`: mean luma, 0..1. `contrast`: standard deviation of luma, 0..1.
    `turn`: how far the nose lies off the middle of the eyes, as a share of half their distance; 0 is frontal.
    `cut`: share of the template's inner 96x112 pixels that lies outside the photograph. `recognisability`: how far the
    template made of it can be trusted, 0..1 (see `recognisability`); None until a model that can tell has embedded it.
    """

    eye_distance: float
    sharpness: float
    brightness: float
    contrast: float
    turn: float
    cut: float
    reasons: tuple[Reason, ...]
    recognisability: float | None = None

    @property
    def fit(self) -> bool:
        """Whether nothing speaks against the face."""
        return not self.reasons

    def recognised(self, recognisability: float, cut: float) -> Quality:
        """The same quality with a model's word on its template: below `cut` the face is unrecognisable."""
        reasons: tuple[Reason, ...] = tuple(r for r in self.reasons if r is not Reason.UNRECOGNISABLE)
        if recognisability < cut:
            reasons = (*reasons, Reason.UNRECOGNISABLE)
        return replace(self, recognisability=recognisability, reasons=reasons)


def assess(
    face: Detection,
    crop: NDArray[np.uint8],
    photo_size: tuple[int, int],
    scale: float,
    limits: QualityLimits,
) -> Quality:
    """Assess one detected face.

    `face` is in pixels of the decoded photograph of `photo_size` (width, height), which holds `scale` decoded
    pixels per original pixel; `crop` is its canonical crop, RGB uint8 (128, 128, 3).
    """
    picture = assess_crop(crop, limits)
    left, right, nose = (complex(x, y) for x, y in face.landmarks[:3].tolist())
    eyes = right - left
    distance = abs(eyes)
    along = ((nose - (left + right) / 2) * eyes.conjugate()).real / max(distance, 1e-6)
    turn = min(2.0, abs(along) / max(distance / 2, 1e-6))
    cut = _share_outside(face.landmarks, photo_size)
    original_distance = distance / scale
    failed = (
        (Reason.TOO_SMALL, original_distance < limits.min_eye_distance),
        (Reason.TURNED_AWAY, turn > limits.max_turn),
        (Reason.CUT_BY_BORDER, cut > limits.max_cut),
        (Reason.DOUBTFUL, limits.is_doubtful(face)),
    )
    faults = {*picture.reasons, *(reason for reason, bad in failed if bad)}
    reasons = tuple(reason for reason in Reason if reason in faults)
    return Quality(original_distance, picture.sharpness, picture.brightness, picture.contrast, turn, cut, reasons)


def assess_crop(crop: NDArray[np.uint8], limits: QualityLimits) -> CropQuality:
    """Assess what a canonical crop alone shows, RGB uint8 (128, 128, 3)."""
    luma = cv2.cvtColor(crop[INNER, INNER], cv2.COLOR_RGB2GRAY)
    means, deviations = cv2.meanStdDev(luma)
    brightness, contrast = float(means[0, 0]) / 255.0, float(deviations[0, 0]) / 255.0
    edges = cv2.filter2D(luma, cv2.CV_16S, EDGES)
    sharpness = cv2.norm(edges, cv2.NORM_L1) / 16.0 / 255.0 / edges.size / max(contrast, 1e-3)
    damage = measure_damage(crop, np.asarray(luma, np.uint8), contrast)
    failed = (
        (Reason.TOO_BLURRED, sharpness < limits.min_sharpness),
        (Reason.TOO_DARK, brightness < limits.min_brightness),
        (Reason.TOO_BRIGHT, brightness > limits.max_brightness or damage.burnt > limits.max_burnt),
        (Reason.LOW_CONTRAST, contrast < limits.min_contrast),
        (Reason.NOISY, damage.noise > limits.max_noise),
        (Reason.PIXELATED, limits.is_pixelated(damage)),
        (Reason.MOTION_BLURRED, limits.is_shaken(damage, sharpness)),
        (Reason.NEGATIVE, limits.is_negative(damage)),
        (Reason.OCCLUDED, damage.covered > limits.max_covered),
    )
    return CropQuality(sharpness, brightness, contrast, tuple(reason for reason, bad in failed if bad))


def _share_outside(landmarks: NDArray[np.float32], size: tuple[int, int]) -> float:
    matrix = similarity(landmarks)
    (scale, _, right), (turn, _, down) = matrix.tolist()
    corners = [(corner - complex(right, down)) / complex(scale, turn) for corner in FRAME]
    if all(-0.5 <= at.real <= size[0] - 0.5 and -0.5 <= at.imag <= size[1] - 0.5 for at in corners):
        return 0.0  # with its corners the whole face lies inside
    x, y = ((GRID - matrix[:, 2]) @ np.linalg.inv(matrix[:, :2]).T).T
    inside = (x >= -0.5) & (x <= size[0] - 0.5) & (y >= -0.5) & (y <= size[1] - 0.5)
    return float(1.0 - inside.mean())
