"""What was done to a picture that a threshold cannot mend, read off the crop: noise, blocks, motion, inverted colours.

Networks put faces of one such damage close to one another, whoever is on them. The measures are cheap and know nothing
of faces but where the eyes and cheeks of a canonical crop lie.
"""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np
from cv2.typing import MatLike
from numpy.typing import NDArray

from service.face.align import CROP, MARGIN

INNER = slice(MARGIN, CROP - MARGIN)
EYES = (slice(54, 66), (slice(38, 54), slice(74, 90)))
CHEEKS = (slice(76, 90), (slice(38, 52), slice(76, 90)))
NOISE: NDArray[np.float32] = np.array([[1, -2, 1], [-2, 4, -2], [1, -2, 1]], np.float32)
"""The difference of two Laplacians, which edges leave at zero (Immerkaer, "Fast noise variance estimation", 1996)."""
NOISE.setflags(write=False)
LINES: NDArray[np.float32] = np.array(
    [
        [[0, 0, 0], [1, -2, 1], [0, 0, 0]],
        [[0, 1, 0], [0, -2, 0], [0, 1, 0]],
        [[1, 0, 0], [0, -2, 0], [0, 0, 1]],
        [[0, 0, 1], [0, -2, 0], [1, 0, 0]],
    ],
    np.float32,
)
"""The second difference in four directions: across, down and along both diagonals."""
LINES.setflags(write=False)
LENGTHS = (1.0, 1.0, 1.6, 1.6)  # neighbours over the corner lie further apart
LEVELS: NDArray[np.float64] = np.arange(256.0)
LEVELS.setflags(write=False)
MEDIAN_OF_NOISE = 6 * 0.6745  # of the filter's absolute response to noise of deviation 1


@dataclass(frozen=True, slots=True)
class Damage:
    """Measures of one crop.

    `noise`: the noise's standard deviation over the contrast. `blocks`: share of all differences between neighbouring
    pixels that the largest tenth of them holds, 1 where a picture is flat within blocks. `direction`: curvature in the
    direction with least of it over that in the one with most; low where motion took the detail of one direction.
    `warmth`: how much redder than blue the crop is, -1..1. `gaze`: how much brighter the eyes are than the cheeks, in
    units of the contrast.
    """

    noise: float
    blocks: float
    direction: float
    warmth: float
    gaze: float


def measure_damage(crop: NDArray[np.uint8], luma: NDArray[np.uint8], contrast: float) -> Damage:
    """Measure a canonical crop, RGB uint8 (128, 128, 3); `luma` is its inner part in grey, `contrast` that part's."""
    spread = max(contrast, 0.02)
    residual = cv2.convertScaleAbs(cv2.filter2D(luma, cv2.CV_16S, NOISE))  # what is above 255 counts as 255
    across = cv2.absdiff(luma[:, 1:], luma[:, :-1])
    down = cv2.absdiff(luma[1:], luma[:-1])
    means = cv2.mean(crop[INNER, INNER])
    return Damage(
        noise=_median(residual) / MEDIAN_OF_NOISE / 255 / spread,
        blocks=min(_held_by_largest_tenth(across), _held_by_largest_tenth(down)),
        direction=_direction(luma),
        warmth=(means[0] - means[2]) / 255,
        gaze=(_brightness(crop, *EYES) - _brightness(crop, *CHEEKS)) / 255 / spread,
    )


def _median(values: MatLike) -> float:
    counts = _count(values).cumsum()
    return float(np.searchsorted(counts, counts[-1] / 2))


def _held_by_largest_tenth(differences: MatLike) -> float:
    counts = _count(differences)
    rest = np.minimum(counts[::-1].cumsum(), differences.size // 10)  # of the largest values, how many are in the tenth
    taken = np.diff(rest, prepend=0)[::-1]
    return float(taken @ LEVELS / max(1.0, float(counts @ LEVELS)))


def _count(values: MatLike) -> NDArray[np.float64]:
    """How often each of the values 0 to 255 occurs."""
    return cv2.calcHist([values], [0], None, [256], [0, 256]).ravel().astype(np.float64)


def _direction(luma: NDArray[np.uint8]) -> float:
    curvature = [
        cv2.norm(cv2.filter2D(luma, cv2.CV_16S, line)[1:-1, 1:-1], cv2.NORM_L1) / length
        for line, length in zip(LINES, LENGTHS, strict=True)
    ]
    pixels = (luma.shape[0] - 2) * (luma.shape[1] - 2)
    return float(min(curvature) / max(*curvature, 1e-3 * pixels))


def _brightness(crop: NDArray[np.uint8], rows: slice, columns: tuple[slice, slice]) -> float:
    parts = (cv2.mean(crop[rows, part]) for part in columns)
    return sum(0.299 * red + 0.587 * green + 0.114 * blue for red, green, blue, _ in parts) / len(columns)
