"""What was done to a picture that a threshold cannot mend, read off the crop.

Noise, blocks, motion, inverted colours, covered eyes, light that burnt the skin out: networks put faces of one such
damage close to one another, whoever is on them. The measures are cheap and know nothing of faces but where the eyes and
cheeks of a canonical crop lie.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import cv2
import numpy as np
from cv2.typing import MatLike
from numpy.typing import NDArray

from service.face.align import CROP, MARGIN

INNER = slice(MARGIN, CROP - MARGIN)
EYES = (slice(54, 66), (slice(38, 54), slice(74, 90)))
CHEEKS = (slice(76, 90), (slice(38, 52), slice(76, 90)))
AROUND_EYES = (slice(52, 68), (slice(34, 60), slice(68, 94)))
BROW_TO_NOSE = (slice(40, 72), slice(40, 88))
MASK = 80  # the row at which a medical mask begins
WINDOW: NDArray[np.uint8] = np.ones((5, 5), np.uint8)
WINDOW.setflags(write=False)
FLAT = 0.12  # of the contrast, over a window
BURNT = 250
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
    direction with least of it over that in the one with most, low where motion took the detail of one direction;
    `direction_above`: the same of what a mask leaves free, whose edge has a direction, too. `warmth`: how much redder
    than blue the crop is, -1..1. `gaze`: how much brighter the eyes are than the cheeks, in units of the contrast.
    `covered`: share of the surroundings of the flatter eye that shows no detail, 0..1; eyes, open or closed, are what a
    face has most detail in. `burnt`: share of the skin from brows to nose that is white.
    """

    noise: float
    blocks: float
    direction: float
    direction_above: float
    warmth: float
    gaze: float
    covered: float
    burnt: float


def measure_damage(crop: NDArray[np.uint8], luma: NDArray[np.uint8], contrast: float) -> Damage:
    """Measure a canonical crop, RGB uint8 (128, 128, 3); `luma` is its inner part in grey, `contrast` that part's."""
    spread = max(contrast, 0.02)
    residual = cv2.convertScaleAbs(cv2.filter2D(luma, cv2.CV_16S, NOISE))  # what is above 255 counts as 255
    across = cv2.absdiff(luma[:, 1:], luma[:, :-1])
    down = cv2.absdiff(luma[1:], luma[:-1])
    means = cv2.mean(crop[INNER, INNER])
    direction, above = _directions(luma)
    return Damage(
        noise=_median(residual) / MEDIAN_OF_NOISE / 255 / spread,
        blocks=min(_held_by_largest_tenth(across), _held_by_largest_tenth(down)),
        direction=direction,
        direction_above=above,
        warmth=(means[0] - means[2]) / 255,
        gaze=(_brightness(crop, *EYES) - _brightness(crop, *CHEEKS)) / 255 / spread,
        covered=max(_flat(crop[AROUND_EYES[0], columns], 255 * FLAT * spread) for columns in AROUND_EYES[1]),
        burnt=float((_grey(crop[BROW_TO_NOSE]) >= BURNT).mean()),
    )


def _grey(part: NDArray[np.uint8]) -> NDArray[np.uint8]:
    return np.asarray(cv2.cvtColor(part, cv2.COLOR_RGB2GRAY), np.uint8)


def _flat(part: NDArray[np.uint8], range_of_noise: float) -> float:
    """Share of a part of the crop in whose surroundings grey varies by no more than `range_of_noise` levels."""
    grey = cv2.blur(_grey(part), (3, 3))
    return float((cv2.subtract(cv2.dilate(grey, WINDOW), cv2.erode(grey, WINDOW)) <= range_of_noise).mean())


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


def _directions(luma: NDArray[np.uint8]) -> tuple[float, float]:
    """Of all of the inner part, and of what a mask leaves free."""
    curvature = [cv2.filter2D(luma, cv2.CV_16S, line)[1:-1, 1:-1] for line in LINES]
    return _evenness(curvature), _evenness([each[: MASK - MARGIN - 2] for each in curvature])


def _evenness(curvature: Sequence[MatLike]) -> float:
    sums = [cv2.norm(each, cv2.NORM_L1) / length for each, length in zip(curvature, LENGTHS, strict=True)]
    return float(min(sums) / max(*sums, 1e-3 * curvature[0].size))


def _brightness(crop: NDArray[np.uint8], rows: slice, columns: tuple[slice, slice]) -> float:
    parts = (cv2.mean(crop[rows, part]) for part in columns)
    return sum(0.299 * red + 0.587 * green + 0.114 * blue for red, green, blue, _ in parts) / len(columns)
