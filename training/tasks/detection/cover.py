"""Covers the lower half of faces, as masks, scarves and hands do; the teacher sees them bare."""

from __future__ import annotations

from collections.abc import Sequence

import cv2
import numpy as np
from numpy.typing import NDArray

from service.face.align import similarity
from service.face.detection.detection import Detection

Image = NDArray[np.uint8]

#: Outline of a mask on the canonical 128x128 crop, from the bridge of the nose round the jaw.
OUTLINE = np.array(
    [[64, 66], [86, 73], [106, 76], [104, 98], [90, 118], [64, 127], [38, 118], [24, 98], [22, 76], [42, 73]]
)
#: Where its strings end, at the ears.
EARS = np.array([[12, 66], [116, 66]])
#: Faces less wide than this, in pixels, keep theirs: a mask of so few pixels is a smear.
NARROWEST = 16.0


def cover(image: Image, faces: Sequence[Detection], rng: np.random.Generator) -> Image:
    """Paint a mask of one colour, patterned or shaded, or a hand's width of skin, on each of the faces."""
    covered = image.copy()
    for face in faces:
        if face.box[2] >= NARROWEST:
            _paint(covered, face, rng)
    return covered


def _paint(image: Image, face: Detection, rng: np.random.Generator) -> None:
    # between the picture and the canonical crop, in which the outline is drawn
    back = np.asarray(cv2.invertAffineTransform(similarity(face.landmarks)), np.float64)
    outline = OUTLINE + rng.normal(0, 2.0, OUTLINE.shape)
    outline[:, 1] += rng.uniform(-6, 8)
    shape = np.rint(_moved(outline, back) * 8).astype(np.int32)
    stencil = np.zeros(image.shape[:2], np.uint8)
    cv2.fillPoly(stencil, [shape], 255, cv2.LINE_AA, 3)
    scale = float(np.hypot(back[0, 0], back[1, 0]))
    soft = cv2.GaussianBlur(stencil, (0, 0), max(0.4, scale * float(rng.uniform(0.5, 2.0))))
    colour = _colour(image, stencil, rng)
    if rng.random() < 0.5:
        strings = _moved(EARS + rng.normal(0, 2.0, EARS.shape), back)
        for ear, corner in ((0, 7), (1, 2), (0, 8), (1, 3)):
            ends = np.rint(np.stack([strings[ear], shape[corner] / 8])).astype(int).tolist()
            cv2.line(image, ends[0], ends[1], colour.tolist(), max(1, round(1.5 * scale)), cv2.LINE_AA)
    x, y, width, height = cv2.boundingRect(np.rint(shape / 8).astype(np.int32))
    top, left = max(0, y - 4), max(0, x - 4)
    part = np.s_[top : max(top, y + height + 4), left : max(left, x + width + 4)]
    cloth = _cloth(image[part], colour, rng)
    share = soft[part][..., None].astype(np.float32) / 255
    image[part] = np.clip(image[part] * (1 - share) + cloth * share, 0, 255).astype(np.uint8)


def _cloth(under: Image, colour: NDArray[np.float64], rng: np.random.Generator) -> NDArray[np.float32]:
    """The colour, lit as the face under it is, with folds, a pattern or neither."""
    if not under.size:
        return np.zeros(under.shape, np.float32)
    luma = cv2.GaussianBlur(cv2.cvtColor(under, cv2.COLOR_BGR2GRAY), (0, 0), max(1.0, under.shape[1] / 6))
    light = np.asarray(luma, np.float32) / max(1.0, float(np.mean(luma)))
    cloth = colour.astype(np.float32) * (0.4 + 0.6 * light)[..., None]
    if rng.random() < 0.4:
        rows = np.arange(under.shape[0], dtype=np.float32)
        folds = np.sin(rows / max(1.0, under.shape[0] / float(rng.uniform(2, 5))) * 2 * np.pi)
        cloth += folds[:, None, None] * float(rng.uniform(4, 18))
    if rng.random() < 0.3:
        cells = [max(2, side // int(rng.integers(3, 9))) for side in under.shape[:2]]
        spots = rng.normal(0, float(rng.uniform(10, 60)), (*cells, 3)).astype(np.float32)
        cloth += cv2.resize(spots, under.shape[1::-1], interpolation=cv2.INTER_LINEAR)
    return np.asarray(cloth, np.float32)


def _colour(image: Image, stencil: Image, rng: np.random.Generator) -> NDArray[np.float64]:
    """Surgical blue or white, black, any colour, or the skin's own, BGR."""
    kind = rng.random()
    if kind < 0.3:
        return np.array([215.0, 190.0, 130.0]) + rng.normal(0, 15, 3)
    if kind < 0.5:
        return np.full(3, rng.uniform(190, 250)) + rng.normal(0, 4, 3)
    if kind < 0.7:
        return np.full(3, rng.uniform(10, 70)) + rng.normal(0, 4, 3)
    if kind < 0.85:
        return rng.uniform(20, 240, 3)
    return np.array(cv2.mean(image, stencil)[:3]) * rng.uniform(0.8, 1.15)


def _moved(points: NDArray[np.float64], matrix: NDArray[np.float64]) -> NDArray[np.float64]:
    return np.asarray(points @ matrix[:, :2].T + matrix[:, 2], np.float64)
