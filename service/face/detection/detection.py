"""One face as a detector finds it, and how the outputs of a YuNet-shaped network are read.

The heads and their decoding follow YuNet (Wu, Peng, Yu, "YuNet: A Tiny Millisecond-level Face Detector",
Machine Intelligence Research 2023), in the layout that OpenCV's FaceDetectorYN reads: for each stride 8, 16
and 32 the outputs `cls`, `obj`, `bbox` and `kps`, one row per cell in row-major order.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from math import atan2, degrees

import cv2
import numpy as np
from numpy.typing import NDArray

from service.face.errors import InferenceFailed

STRIDES = (8, 16, 32)
HEADS = ("cls", "obj", "bbox", "kps")
CLEARLY_LESS = 0.999  # than 1, so that rounding cannot lose a cell


@dataclass(frozen=True, slots=True)
class Detection:
    """One face that was found.

    `box` (x, y, width, height) and `landmarks` (5, 2) float32 are in pixels of the photograph, `score` is 0..1.
    Landmark order, with the face held upright: the eyes from left to right, the tip of the nose, and the corners of the
    mouth from left to right.
    """

    box: tuple[float, float, float, float]
    score: float
    landmarks: NDArray[np.float32]

    @property
    def area(self) -> float:
        """Width times height of the box, in square pixels."""
        return self.box[2] * self.box[3]

    @property
    def size(self) -> float:
        """The longer side of the box."""
        return max(self.box[2], self.box[3])

    @property
    def centre(self) -> tuple[float, float]:
        """The middle of the box, x before y."""
        return self.box[0] + self.box[2] / 2, self.box[1] + self.box[3] / 2

    @property
    def roll(self) -> float:
        """By how many degrees the head is turned clockwise in the picture's plane, -180..180; 0 is upright."""
        return roll_of(self.landmarks.tolist())

    def as_sure_as(self, least: float) -> bool:
        """Whether the detector gives it a score of `least`, 0..1, or more."""
        return self.score >= least


def roll_of(landmarks: Sequence[Sequence[float]]) -> float:
    """Degrees by which the line through the first two landmarks, the eyes, is turned clockwise, -180..180."""
    (left, top), (right, bottom) = landmarks[:2]
    return degrees(atan2(bottom - top, right - left))


def decode(outputs: dict[str, NDArray[np.float32]], height: int, width: int, min_score: float) -> list[Detection]:
    """Decode the heads of one padded input of height x width pixels to detections scoring at least `min_score`.

    A cell at column c, row r of stride s gives: score sqrt(cls * obj), both clipped to 0..1; box centre
    ((c + dx) s, (r + dy) s) and size (exp(dw) s, exp(dh) s); landmark ((c + kx) s, (r + ky) s).

    Raises: InferenceFailed when a score, or a face, is not finite: it would pass for a photograph without that face.
    """
    faces: list[Detection] = []
    for stride in STRIDES:
        columns = width // stride
        cls, obj, bbox, kps = (outputs[f"{head}_{stride}"][0] for head in HEADS)
        # Clipping only lowers a score: what fails unclipped would fail clipped. NumPy lets other threads in at every
        # pass over a large array, and waits to come back: few passes are made over all cells.
        squares = cls[:, 0] * obj[:, 0]
        _require_finite(squares.sum())
        cells = np.flatnonzero(squares >= CLEARLY_LESS * min_score**2)
        if not len(cells):
            continue
        scores = np.sqrt(np.clip(cls[cells, 0], 0, 1) * np.clip(obj[cells, 0], 0, 1))
        enough = scores >= min_score
        cells, scores = cells[enough], scores[enough]
        corners = np.stack([cells % columns, cells // columns], axis=1).astype(np.float32)
        sizes = np.exp(np.minimum(bbox[cells, 2:4], 10.0)) * stride
        boxes = np.hstack([(corners + bbox[cells, :2]) * stride - sizes / 2, sizes])
        landmarks = ((kps[cells].reshape(-1, 5, 2) + corners[:, None]) * stride).astype(np.float32)
        _require_finite(boxes, landmarks)
        rows = zip(boxes.tolist(), scores.tolist(), landmarks, strict=True)
        faces += [Detection((x, y, w, h), score, points) for (x, y, w, h), score, points in rows]
    return faces


def _require_finite(*values: NDArray[np.floating] | np.floating) -> None:
    if not all(np.isfinite(each).all() for each in values):
        raise InferenceFailed("the detector gave no finite number")


def suppress(faces: Sequence[Detection], iou: float) -> list[Detection]:
    """Greedy non-maximum suppression: keep the best, drop what overlaps it by more than `iou`, repeat."""
    if len(faces) < 2:
        return list(faces)
    boxes, scores = [face.box for face in faces], [face.score for face in faces]
    return [faces[at] for at in cv2.dnn.NMSBoxes(boxes, scores, score_threshold=0.0, nms_threshold=iou)]


def overlap(box: NDArray[np.floating], boxes: NDArray[np.floating]) -> NDArray[np.float64]:
    """Intersection over union of one box (4,) with boxes (N, 4), each (x, y, width, height)."""
    shared = _shared(box, boxes)
    union = box[2] * box[3] + boxes[:, 2] * boxes[:, 3] - shared
    return np.asarray(shared / np.maximum(union, 1e-9), dtype=np.float64)


def covered(box: NDArray[np.floating], boxes: NDArray[np.floating]) -> NDArray[np.float64]:
    """Intersection over the smaller area of one box (4,) with boxes (N, 4), each (x, y, width, height)."""
    smaller = np.minimum(box[2] * box[3], boxes[:, 2] * boxes[:, 3])
    return np.asarray(_shared(box, boxes) / np.maximum(smaller, 1e-9), dtype=np.float64)


def _shared(box: NDArray[np.floating], boxes: NDArray[np.floating]) -> NDArray[np.float64]:
    low = np.maximum(box[:2], boxes[:, :2])
    high = np.minimum(box[:2] + box[2:], boxes[:, :2] + boxes[:, 2:])
    return np.asarray(np.prod(np.clip(high - low, 0, None), axis=1), dtype=np.float64)
