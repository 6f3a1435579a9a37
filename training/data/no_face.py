"""Crops of what is no upright human face: turned over, in inverted colours, textures, blanks, a detector's mistakes.

Made of ordinary crops, so that their colours and grain are those of photographs and give nothing away.
"""

from __future__ import annotations

import cv2
import numpy as np
from numpy.typing import NDArray

from service.face.align import CROP
from training.data.degradations import negate


def make_no_face(crop: NDArray[np.uint8], rng: np.random.Generator) -> NDArray[np.uint8]:
    """One crop, RGB uint8 (128, 128, 3), of no upright face, made of another crop."""
    picture: NDArray[np.uint8] = KINDS[rng.integers(len(KINDS))](crop, rng)
    return picture


def turn_over(crop: NDArray[np.uint8], rng: np.random.Generator) -> NDArray[np.uint8]:
    """Upside down, mirrored or not."""
    return np.ascontiguousarray(crop[::-1, :: int(rng.choice([1, -1]))])


def turn_aside(crop: NDArray[np.uint8], rng: np.random.Generator) -> NDArray[np.uint8]:
    """On its side, by a quarter turn give or take."""
    angle = float(rng.choice([-1, 1]) * rng.uniform(70, 110))
    matrix = cv2.getRotationMatrix2D(((CROP - 1) / 2, (CROP - 1) / 2), angle, 1.0)
    return np.asarray(cv2.warpAffine(crop, matrix, (CROP, CROP), borderMode=cv2.BORDER_REFLECT), np.uint8)


def shuffle(crop: NDArray[np.uint8], rng: np.random.Generator) -> NDArray[np.uint8]:
    """The same pixels in blocks that are out of order: a texture."""
    side = int(rng.choice([8, 16, 32]))
    count = CROP // side
    blocks = crop.reshape(count, side, count, side, 3).swapaxes(1, 2).reshape(-1, side, side, 3)
    mixed = blocks[rng.permutation(len(blocks))].reshape(count, count, side, side, 3)
    return np.ascontiguousarray(mixed.swapaxes(1, 2).reshape(CROP, CROP, 3))


def enlarge(crop: NDArray[np.uint8], rng: np.random.Generator) -> NDArray[np.uint8]:
    """A corner, seen through a loupe: skin, hair, cloth, what lies behind."""
    side = int(rng.integers(20, 40))
    y, x = (int(rng.choice([0, CROP - side])) for _ in range(2))
    return np.asarray(cv2.resize(crop[y : y + side, x : x + side], (CROP, CROP), interpolation=cv2.INTER_CUBIC), np.uint8)


def blank(crop: NDArray[np.uint8], rng: np.random.Generator) -> NDArray[np.uint8]:
    """A plain surface under uneven light, with a little noise."""
    corners = np.clip(crop[rng.integers(CROP), rng.integers(CROP)] + rng.normal(0, 25, (2, 2, 3)), 0, 255)
    plain = cv2.resize(corners.astype(np.float32), (CROP, CROP), interpolation=cv2.INTER_LINEAR)
    return np.asarray(np.clip(plain + rng.normal(0, rng.uniform(0, 6), plain.shape), 0, 255), np.uint8)


def invert_colours(crop: NDArray[np.uint8], _: np.random.Generator) -> NDArray[np.uint8]:
    """A negative: strangers on negatives resemble one another more than a person and its own negative."""
    return negate(crop)


KINDS = (turn_over, turn_over, turn_aside, invert_colours, invert_colours, shuffle, enlarge, blank)
"""What `make_no_face` draws from; what detectors let through most often stands twice: faces turned over, negatives."""
