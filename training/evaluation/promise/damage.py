"""Kinds of damage, made from good crops: what bad cameras, bad networks and bad luck do to a face.

Each takes a canonical crop, RGB uint8 (128, 128, 3), a strength of 0 (mild) to 1 (hopeless) and a generator, and
returns a new crop. `COMMON` damage belongs to the kinds that a cohort holds; `RARE` is kept out of it, to tell how a
model fares with what nobody thought of.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping

import cv2
import numpy as np
from numpy.typing import NDArray

from service.face.align import CROP
from training.data import degradations

Crop = NDArray[np.uint8]
Damage = Callable[[Crop, float, np.random.Generator], Crop]
CENTRE = (CROP - 1) / 2


def pixelate(crop: Crop, strength: float, _: np.random.Generator) -> Crop:
    """Blocks: 48 across the crop down to 20."""
    return degradations.pixelate(crop, round(48 - 28 * strength))


def shrink(crop: Crop, strength: float, _: np.random.Generator) -> Crop:
    """A distant face, enlarged: 48 pixels across the crop down to 12."""
    side = round(48 - 36 * strength)
    small = cv2.resize(crop, (side, side), interpolation=cv2.INTER_AREA)
    return np.asarray(cv2.resize(small, (CROP, CROP), interpolation=cv2.INTER_LINEAR), np.uint8)


def blur(crop: Crop, strength: float, _: np.random.Generator) -> Crop:
    """Out of focus: a Gaussian of 1.5 to 6 pixels."""
    return np.asarray(cv2.GaussianBlur(crop, (0, 0), 1.5 + 4.5 * strength), np.uint8)


def shake(crop: Crop, strength: float, rng: np.random.Generator) -> Crop:
    """Motion blur of 5 to 19 pixels in any direction."""
    length = round(5 + 14 * strength)
    kernel = np.zeros((length, length), np.float32)
    kernel[length // 2] = 1
    turn = cv2.getRotationMatrix2D(((length - 1) / 2,) * 2, rng.uniform(0, 180), 1)
    kernel = np.asarray(cv2.warpAffine(kernel, turn, (length, length)), np.float32)
    return np.asarray(cv2.filter2D(crop, -1, kernel / kernel.sum()), np.uint8)


def darken(crop: Crop, strength: float, rng: np.random.Generator) -> Crop:
    """Little light and the sensor's noise: 60 to 12 % of the light, noise of 3 to 12 grey levels."""
    dim = crop.astype(np.float32) * (0.6 - 0.48 * strength) + rng.normal(0, 3 + 9 * strength, crop.shape)
    return np.clip(np.round(dim), 0, 255).astype(np.uint8)


def cover(crop: Crop, strength: float, rng: np.random.Generator) -> Crop:
    """A rectangle of one colour over the face, sides of 30 to 80 pixels."""
    out = crop.copy()
    height, width = (round(30 + 50 * strength * value) for value in rng.uniform(0.6, 1, 2))
    y, x = rng.integers(0, CROP - height), rng.integers(0, CROP - width)
    out[y : y + height, x : x + width] = rng.integers(0, 256, 3)
    return out


def invert(crop: Crop, _: float, __: np.random.Generator) -> Crop:
    """Upside down, aligned as if it were upright."""
    return np.ascontiguousarray(crop[::-1, ::-1])


def roll(crop: Crop, strength: float, rng: np.random.Generator) -> Crop:
    """Turned in the plane by 25 to 110 degrees either way, aligned as if it were upright."""
    angle = (25 + 85 * strength) * rng.choice([-1.0, 1.0])
    turn = cv2.getRotationMatrix2D((CENTRE, CENTRE), angle, 1)
    return np.asarray(cv2.warpAffine(crop, turn, (CROP, CROP), borderMode=cv2.BORDER_REPLICATE), np.uint8)


def halve(crop: Crop, _: float, rng: np.random.Generator) -> Crop:
    """The left or the right half of the picture covered in one shade."""
    out = crop.copy()
    side = slice(CROP // 2, None) if rng.random() < 0.5 else slice(CROP // 2)
    out[:, side] = rng.integers(0, 256)
    return out


def mask(crop: Crop, _: float, __: np.random.Generator) -> Crop:
    """Nose and mouth under a light blue mask."""
    out = crop.copy()
    out[80:] = (200, 210, 215)
    return out


def blindfold(crop: Crop, strength: float, _: np.random.Generator) -> Crop:
    """A dark band over both eyes, 16 to 36 pixels high."""
    out = crop.copy()
    half = round(8 + 10 * strength)
    out[60 - half : 60 + half] = 20
    return out


def bleach(crop: Crop, strength: float, _: np.random.Generator) -> Crop:
    """Far too much light: 1.5 to 3.5 times as much, clipped as a sensor does."""
    bright: Crop = np.clip(crop * (1.5 + 2 * strength), 0, 255).astype(np.uint8)
    return bright


def bar(crop: Crop, strength: float, rng: np.random.Generator) -> Crop:
    """Upright bars of one shade every 20 pixels, 3 to 10 pixels wide."""
    out = crop.copy()
    width = round(3 + 7 * strength)
    out[:, (np.arange(CROP) + rng.integers(20)) % 20 < width] = rng.integers(0, 256)
    return out


def flatten(crop: Crop, strength: float, _: np.random.Generator) -> Crop:
    """Few shades: 6 of each colour down to 2."""
    shades = round(6 - 4 * strength)
    return np.asarray(np.round(np.floor(crop / 256 * shades) * (255 / (shades - 1))), np.uint8)


def compress(crop: Crop, strength: float, _: np.random.Generator) -> Crop:
    """JPEG at quality 20 down to 4."""
    packed = cv2.imencode(".jpg", crop[..., ::-1], [cv2.IMWRITE_JPEG_QUALITY, round(20 - 16 * strength)])[1]
    return np.ascontiguousarray(np.asarray(cv2.imdecode(packed, cv2.IMREAD_COLOR), np.uint8)[..., ::-1])


def negate(crop: Crop, _: float, __: np.random.Generator) -> Crop:
    """A colour negative."""
    return degradations.negate(crop)


COMMON: Mapping[str, Damage] = {
    "pixelated": pixelate,
    "low resolution": shrink,
    "blurred": blur,
    "motion blur": shake,
    "dark and noisy": darken,
    "partly covered": cover,
    "half covered": halve,
    "eyes covered": blindfold,
    "masked": mask,
    "overexposed": bleach,
    "upside down": invert,
    "rolled": roll,
    "negative": negate,
}
RARE: Mapping[str, Damage] = {"compressed": compress, "few shades": flatten, "behind bars": bar}


def spoil(crops: Crop, damage: Damage, rng: np.random.Generator, strength: float | None = None) -> Crop:
    """Damage every crop of (N, 128, 128, 3), at one strength or at random ones."""
    return np.stack([damage(crop, rng.random() if strength is None else strength, rng) for crop in crops])
