"""Faces and five landmarks from a photograph, by a YuNet-shaped detector.

The heads and their decoding follow YuNet (Wu, Peng, Yu, "YuNet: A Tiny Millisecond-level Face Detector",
Machine Intelligence Research 2023), in the layout that OpenCV's FaceDetectorYN reads: for each stride 8, 16
and 32 the outputs `cls`, `obj`, `bbox` and `kps`, one row per cell in row-major order.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

from service.face.errors import ModelInvalid
from service.face.manifest import Manifest
from service.face.session import ModelSession

STRIDES = (8, 16, 32)
HEADS = ("cls", "obj", "bbox", "kps")
CLEARLY_LESS = 0.999  # than 1, so that rounding cannot lose a cell


@dataclass(frozen=True, slots=True)
class Detection:
    """One face: `box` (x, y, width, height) and `landmarks` (5, 2) float32, in pixels of the photograph, and
    `score` 0..1. Landmark order: the eye, then the other eye from left to right of the picture, the tip of the
    nose, and the corners of the mouth from left to right.
    """

    box: tuple[float, float, float, float]
    score: float
    landmarks: NDArray[np.float32]

    @property
    def area(self) -> float:
        return self.box[2] * self.box[3]


@dataclass(frozen=True, slots=True)
class DetectionLimits:
    """How faces are looked for.

    `min_score`: detections below it are dropped. `iou`: boxes overlapping more than this are one face.
    `sides`: longer side, in pixels, of the views the detector sees, the first always at most; small views
    find faces that fill the frame, which a full-size view misses. `fine_side`: longer side of the view that a
    thorough search adds, for small faces in large photographs. A face smaller than `refine_below` pixels in
    the first view is looked at again, enlarged, where the photograph has more pixels of it: at such sizes
    landmarks are too coarse to align by.
    """

    min_score: float = 0.75
    iou: float = 0.3
    sides: tuple[int, ...] = (640, 160)
    fine_side: int = 1600
    refine_below: float = 64.0


class Detector:
    """Finds faces. Safe to call from many threads at once."""

    def __init__(self, manifest: Manifest, session: ModelSession, limits: DetectionLimits | None = None) -> None:
        """Raises: ModelInvalid when the graph lacks the heads this decoder reads."""
        missing = {f"{head}_{stride}" for head in HEADS for stride in STRIDES} - set(session.outputs)
        if missing:
            raise ModelInvalid(f"{manifest.identity}: not a detector of this layout, lacks {sorted(missing)[0]}")
        self.manifest = manifest
        self._session = session
        self._limits = limits or DetectionLimits()
        self._mean = np.asarray(manifest.input.mean, dtype=np.float32).reshape(1, 3, 1, 1)
        self._scale = np.asarray(manifest.input.scale, dtype=np.float32).reshape(1, 3, 1, 1)
        self._plain = not self._mean.any() and bool((self._scale == 1).all())

    def detect(self, pixels: NDArray[np.uint8], thorough: bool = False) -> list[Detection]:
        """Find faces in an RGB uint8 (H, W, 3) photograph, largest first.

        `thorough` adds a view at up to `fine_side` pixels for small faces in large photographs; without it
        that view is looked at only when the others show no face.

        Raises: InferenceFailed.
        """
        longer = max(pixels.shape[:2])
        sides = sorted({min(side, longer) for side in self._limits.sides}, reverse=True)
        fine = min(longer, self._limits.fine_side)
        if thorough and fine > sides[0]:
            sides.insert(0, fine)
        found = suppress([face for side in sides for face in self._view(pixels, side)], self._limits.iou)
        if not found and fine > sides[0]:
            found = self._view(pixels, fine)
        found = [self._refined(face, pixels, sides[0] / longer) for face in found]
        return sorted(found, key=lambda face: face.area, reverse=True)

    def _refined(self, face: Detection, pixels: NDArray[np.uint8], ratio: float) -> Detection:
        """The same face seen again in a cut-out at up to twice `refine_below`, or as it was."""
        x, y, width, height = face.box
        size = max(width, height)
        if ratio >= 1.0 or size * ratio >= self._limits.refine_below:
            return face
        left, top = max(0, round(x + width / 2 - size * 1.5)), max(0, round(y + height / 2 - size * 1.5))
        cut = pixels[top : top + round(size * 3), left : left + round(size * 3)]
        corner = np.array([left, top], dtype=np.float32)
        if 0 in cut.shape[:2]:
            return face
        again = [_moved(seen, corner) for seen in self._view(cut, round(self._limits.refine_below * 6))]
        same = overlap(np.array(face.box), np.array([seen.box for seen in again] or [(0.0,) * 4]))
        return again[int(same.argmax())] if again and same.max() > self._limits.iou else face

    def _view(self, pixels: NDArray[np.uint8], side: int) -> list[Detection]:
        height, width = pixels.shape[:2]
        ratio = min(1.0, side / max(height, width))
        if ratio < 1.0:
            size = max(1, round(width * ratio)), max(1, round(height * ratio))
            view = np.asarray(cv2.resize(pixels, size, interpolation=cv2.INTER_AREA), dtype=np.uint8)
        else:
            view = pixels
        outputs = self._session.run(self._tensor(view))
        faces = decode(outputs, _padded(view.shape[0]), _padded(view.shape[1]), self._limits.min_score)
        zoom = np.array([width / view.shape[1], height / view.shape[0]], dtype=np.float32)
        return [_enlarged(face, zoom) for face in suppress(faces, self._limits.iou)]

    def _tensor(self, view: NDArray[np.uint8]) -> NDArray[np.float32]:
        # OpenCV lets other threads run meanwhile, NumPy would not.
        height, width = view.shape[:2]
        below, right = _padded(height) - height, _padded(width) - width
        padded = cv2.copyMakeBorder(view, 0, below, 0, right, cv2.BORDER_CONSTANT) if below or right else view
        tensor = np.asarray(cv2.dnn.blobFromImage(padded, swapRB=self.manifest.input.colour == "BGR"), dtype=np.float32)
        if not self._plain:
            tensor -= self._mean
            tensor *= self._scale
        return tensor


def decode(outputs: dict[str, NDArray[np.float32]], height: int, width: int, min_score: float) -> list[Detection]:
    """Decode the heads of one padded input of height x width pixels to detections scoring at least `min_score`.

    A cell at column c, row r of stride s gives: score sqrt(cls * obj), both clipped to 0..1; box centre
    ((c + dx) s, (r + dy) s) and size (exp(dw) s, exp(dh) s); landmark ((c + kx) s, (r + ky) s).
    """
    faces: list[Detection] = []
    for stride in STRIDES:
        columns = width // stride
        cls, obj, bbox, kps = (outputs[f"{head}_{stride}"][0] for head in HEADS)
        # Clipping only lowers a score: what fails unclipped would fail clipped. NumPy lets other threads in at every
        # pass over a large array, and waits to come back: few passes are made over all cells.
        cells = np.flatnonzero(cls[:, 0] * obj[:, 0] >= CLEARLY_LESS * min_score**2)
        scores = np.sqrt(np.clip(cls[cells, 0], 0, 1) * np.clip(obj[cells, 0], 0, 1))
        enough = scores >= min_score
        cells, scores = cells[enough], scores[enough]
        if not len(cells):
            continue
        corners = np.stack([cells % columns, cells // columns], axis=1).astype(np.float32)
        sizes = np.exp(np.minimum(bbox[cells, 2:4], 10.0)) * stride
        boxes = np.hstack([(corners + bbox[cells, :2]) * stride - sizes / 2, sizes])
        landmarks = ((kps[cells].reshape(-1, 5, 2) + corners[:, None]) * stride).astype(np.float32)
        found = zip(boxes.tolist(), scores.tolist(), landmarks, strict=True)
        faces += [Detection((x, y, w, h), score, points) for (x, y, w, h), score, points in found]
    return faces


def suppress(faces: Sequence[Detection], iou: float) -> list[Detection]:
    """Greedy non-maximum suppression: keep the best, drop what overlaps it by more than `iou`, repeat."""
    if not faces:
        return []
    boxes = np.array([face.box for face in faces])
    order = np.argsort([-face.score for face in faces], kind="stable")
    kept: list[Detection] = []
    while len(order):
        best, rest = order[0], order[1:]
        kept.append(faces[best])
        order = rest[overlap(boxes[best], boxes[rest]) <= iou]
    return kept


def overlap(box: NDArray[np.floating], boxes: NDArray[np.floating]) -> NDArray[np.float64]:
    """Intersection over union of one box (4,) with boxes (N, 4), each (x, y, width, height)."""
    low = np.maximum(box[:2], boxes[:, :2])
    high = np.minimum(box[:2] + box[2:], boxes[:, :2] + boxes[:, 2:])
    shared = np.prod(np.clip(high - low, 0, None), axis=1)
    union = box[2] * box[3] + boxes[:, 2] * boxes[:, 3] - shared
    return np.asarray(shared / np.maximum(union, 1e-9), dtype=np.float64)


def _enlarged(face: Detection, zoom: NDArray[np.float32]) -> Detection:
    x, y, width, height = face.box
    box = (float(x * zoom[0]), float(y * zoom[1]), float(width * zoom[0]), float(height * zoom[1]))
    return Detection(box, face.score, face.landmarks * zoom)


def _moved(face: Detection, shift: NDArray[np.float32]) -> Detection:
    x, y, width, height = face.box
    return Detection((x + float(shift[0]), y + float(shift[1]), width, height), face.score, face.landmarks + shift)


def _padded(side: int) -> int:
    return -(-side // 32) * 32
