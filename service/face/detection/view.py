"""What a detector looks at: a photograph at halved sizes, whole, turned or in tiles, and cut-outs of it."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

from service.face.detection.detection import Detection

Image = NDArray[np.uint8]

MIRRORED = [1, 0, 2, 4, 3]  # landmarks from left to right, of a face that is seen in a mirror


@dataclass(frozen=True, slots=True)
class View:
    """Pixels, RGB uint8 (H, W, 3), and the affine `matrix` (2, 3) that takes a place in them to the photograph."""

    pixels: Image
    matrix: NDArray[np.float64]

    @property
    def zoom(self) -> float:
        """Pixels of the view for one of the photograph."""
        return float(1.0 / np.hypot(self.matrix[0, 0], self.matrix[1, 0]))

    @property
    def side(self) -> int:
        """The longer side."""
        return int(max(self.pixels.shape[:2]))

    def place(self, face: Detection) -> Detection:
        """A face seen here, in pixels of the photograph. Its box keeps its shape but for quarter turns."""
        linear, shift = self.matrix[:, :2], self.matrix[:, 2]
        centre = linear @ face.centre + shift
        width, height = np.array(face.box[2:]) / self.zoom
        if abs(self.matrix[0, 1]) > abs(self.matrix[0, 0]):
            width, height = height, width
        box = (float(centre[0] - width / 2), float(centre[1] - height / 2), float(width), float(height))
        landmarks = (face.landmarks @ linear.T + shift).astype(np.float32)
        if self.matrix[0, 0] * self.matrix[1, 1] < self.matrix[0, 1] * self.matrix[1, 0]:
            landmarks = landmarks[MIRRORED]
        return Detection(box, face.score, landmarks)

    def turned(self, quarters: int) -> View:
        """The view after so many quarter turns anticlockwise."""
        height, width = self.pixels.shape[:2]
        # from the turned picture's places back to this one's
        back = {0: [[1, 0, 0], [0, 1, 0]], 1: [[0, -1, width], [1, 0, 0]], 2: [[-1, 0, width], [0, -1, height]]}
        back[3] = [[0, 1, 0], [-1, 0, height]]
        pixels = np.ascontiguousarray(np.rot90(self.pixels, quarters))
        return View(pixels, _after(self.matrix, np.array(back[quarters % 4], dtype=np.float64)))

    def mirrored(self) -> View:
        """The view with left and right exchanged."""
        back = np.array([[-1.0, 0.0, self.pixels.shape[1]], [0.0, 1.0, 0.0]])
        return View(np.ascontiguousarray(self.pixels[:, ::-1]), _after(self.matrix, back))

    def tiles(self, side: int, shared: int) -> Iterator[View]:
        """Squares of at most `side` pixels that cover the view, neighbours overlapping by `shared`; or the view."""
        height, width = self.pixels.shape[:2]
        for top in _starts(height, side, shared):
            for left in _starts(width, side, shared):
                corner = np.array([[1.0, 0.0, left], [0.0, 1.0, top]])
                yield View(self.pixels[top : top + side, left : left + side], _after(self.matrix, corner))


def halvings(pixels: Image, smallest: int) -> list[View]:
    """A photograph, RGB uint8 (H, W, 3), and its halvings down to a longer side of `smallest` at most, in this order.

    Halving averages four pixels into one: it does not alias, and costs next to nothing, which for other ratios it does.
    """
    views = [View(pixels, np.array([[1.0, 0.0, 0.0], [0.0, 1.0, 0.0]]))]
    while views[-1].side > smallest and min(views[-1].pixels.shape[:2]) >= 2:
        last = views[-1].pixels
        height, width = last.shape[0] // 2, last.shape[1] // 2
        half = cv2.resize(last[: 2 * height, : 2 * width], (width, height), interpolation=cv2.INTER_AREA)
        views.append(View(np.asarray(half, dtype=np.uint8), views[-1].matrix * np.array([2.0, 2.0, 1.0])))
    return views


def whole(views: Sequence[View], side: int) -> View:
    """The photograph, given with its halvings, so that its longer side has `side` pixels."""
    height, width = views[0].pixels.shape[:2]
    zoom = side / max(height, width)
    source = next((view for view in reversed(views) if view.zoom >= zoom), views[0])
    size = max(1, round(width * zoom)), max(1, round(height * zoom))
    how = cv2.INTER_AREA if source.zoom > zoom else cv2.INTER_LINEAR
    pixels = np.asarray(cv2.resize(source.pixels, size, interpolation=how), dtype=np.uint8)
    return View(pixels, np.array([[width / size[0], 0.0, 0.0], [0.0, height / size[1], 0.0]]))


def cut_out(views: list[View], centre: tuple[float, float], reach: float, side: int, roll: float = 0.0) -> View:
    """A square of `reach` pixels of the photograph round `centre` as one of `side` pixels, what lies outside black.

    It is turned so that a head that is rolled by `roll` degrees clockwise stands upright, and sampled from the smallest
    of the halvings that has enough pixels.
    """
    zoom = side / reach
    source = next((view for view in reversed(views) if view.zoom >= zoom), views[0])
    turn = np.radians(roll)
    linear = np.array([[np.cos(turn), -np.sin(turn)], [np.sin(turn), np.cos(turn)]]) / zoom
    matrix = np.column_stack([linear, np.array(centre) - linear @ np.full(2, side / 2)])
    # OpenCV counts places from the middle of the first pixel, views from its corner.
    sampling = matrix.copy()
    sampling[:, 2] += linear @ np.full(2, 0.5)
    sampling *= source.zoom
    sampling[:, 2] -= 0.5
    flags = cv2.INTER_LINEAR | cv2.WARP_INVERSE_MAP
    pixels = cv2.warpAffine(source.pixels, sampling, (side, side), flags=flags, borderMode=cv2.BORDER_CONSTANT)
    return View(np.asarray(pixels, dtype=np.uint8), matrix)


def _after(outer: NDArray[np.float64], inner: NDArray[np.float64]) -> NDArray[np.float64]:
    """First `inner`, then `outer`."""
    return np.column_stack([outer[:, :2] @ inner[:, :2], outer[:, :2] @ inner[:, 2] + outer[:, 2]])


def _starts(length: int, side: int, shared: int) -> list[int]:
    """Where tiles begin along one side, evenly spread."""
    if length <= side:
        return [0]
    count = 1 + -(-(length - side) // (side - shared))
    return [round(start) for start in np.linspace(0, length - side, count).tolist()]
