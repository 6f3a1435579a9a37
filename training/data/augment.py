"""Augmentation of canonical crops: geometry, light, and what cameras and networks do to a face.

One warp per crop does flip, shift, scale and rotation together. Everything is drawn from one generator, so a batch
is a pure function of its indices and seed. All strengths are zero by default, and then pixels come out untouched.
"""

from __future__ import annotations

import cv2
import numpy as np
from numpy.typing import NDArray
from pydantic import Field

from service.face.align import CROP
from training.data.camera import add_noise, darken, smear
from training.data.degradations import blur, compress, relight
from training.data.face_mask import paint_mask
from training.recipe import Part

CENTRE = (CROP - 1) / 2


class Augment(Part):
    """Strengths (largest absolute change) and probabilities (per crop).

    `shift` is in pixels of the 128 crop (its margin is 8), `scale` relative, `rotate` in degrees; `light` is the
    largest relative change of gain and gamma, `colour` of each channel's gain. `low_resolution` reduces a crop to
    between `smallest` pixels and full size and back; `blur` is Gaussian, up to `sigma`; `jpeg` encodes at `quality` or
    better; `occlusion` paints a rectangle with sides up to `largest` of the crop; `grey` drops colour. `motion` smears
    along a line of up to `length` pixels; `noise` adds a sensor's, up to `grain` grey levels; `dark` exposes too little
    (`training.data.camera`); `mask` paints a face mask; `roll` turns a crop by up to `rolled` degrees, more than
    `rotate` turns every one.
    """

    flip: float = Field(default=0.0, ge=0, le=1)
    shift: float = Field(default=0.0, ge=0, le=8)
    scale: float = Field(default=0.0, ge=0, le=0.5)
    rotate: float = Field(default=0.0, ge=0, le=45)
    light: float = Field(default=0.0, ge=0, le=0.9)
    colour: float = Field(default=0.0, ge=0, le=0.5)
    low_resolution: float = Field(default=0.0, ge=0, le=1)
    smallest: int = Field(default=24, ge=8, le=CROP)
    blur: float = Field(default=0.0, ge=0, le=1)
    sigma: float = Field(default=2.0, gt=0, le=8)
    jpeg: float = Field(default=0.0, ge=0, le=1)
    quality: int = Field(default=30, ge=5, le=95)
    occlusion: float = Field(default=0.0, ge=0, le=1)
    largest: float = Field(default=0.4, gt=0, le=0.8)
    grey: float = Field(default=0.0, ge=0, le=1)
    motion: float = Field(default=0.0, ge=0, le=1)
    length: float = Field(default=8.0, gt=1, le=32)
    noise: float = Field(default=0.0, ge=0, le=1)
    grain: float = Field(default=15.0, gt=0, le=64)
    dark: float = Field(default=0.0, ge=0, le=1)
    mask: float = Field(default=0.0, ge=0, le=1)
    roll: float = Field(default=0.0, ge=0, le=1)
    rolled: float = Field(default=20.0, gt=0, le=45)


def augment(
    crops: NDArray[np.uint8], spec: Augment, rng: np.random.Generator
) -> tuple[NDArray[np.uint8], NDArray[np.float64]]:
    """Augment crops, RGB uint8 (N, 128, 128, 3).

    Returns new crops of the same shape and the warps (N, 2, 3) that map a point of the old crop to the new one.
    """
    matrices = draw_warps(len(crops), spec, rng)
    still = np.all(matrices == np.array([[1.0, 0, 0], [0, 1.0, 0]]), axis=(1, 2))
    out = np.empty_like(crops)
    for crop, matrix, keep, target in zip(crops, matrices, still, out, strict=True):
        chance, seed = rng.random(), int(rng.integers(2**32))
        target[:] = crop
        if chance < spec.mask:
            paint_mask(target, seed)  # before the warp, while the landmarks are the template's
        if not keep:
            target[:] = cv2.warpAffine(
                target, matrix, (CROP, CROP), flags=cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE
            )
        _degrade(target, spec, rng)
    return out, matrices


def draw_warps(count: int, spec: Augment, rng: np.random.Generator) -> NDArray[np.float64]:
    """Random similarities about the crop's centre, mirrored with probability `flip`: (N, 2, 3)."""
    most = np.where(rng.random(count) < spec.roll, max(spec.rolled, spec.rotate), spec.rotate)
    angle = np.deg2rad(rng.uniform(-1, 1, count) * most)
    factor = 1 + rng.uniform(-1, 1, count) * spec.scale
    shift = rng.uniform(-1, 1, (count, 2)) * spec.shift
    mirror = np.where(rng.random(count) < spec.flip, -1.0, 1.0)
    cos, sin = factor * np.cos(angle), factor * np.sin(angle)
    matrices = np.empty((count, 2, 3))
    matrices[:, 0, 0], matrices[:, 0, 1] = cos * mirror, -sin
    matrices[:, 1, 0], matrices[:, 1, 1] = sin * mirror, cos
    centre = np.full(2, CENTRE)
    matrices[:, :, 2] = centre + shift - matrices[:, :, :2] @ centre
    return matrices


def move_points(points: NDArray[np.floating], matrices: NDArray[np.float64]) -> NDArray[np.float32]:
    """Carry five landmarks (N, 5, 2) along with the warps; a mirrored face gets its left and right exchanged."""
    moved = np.einsum("nij,nkj->nki", matrices[:, :, :2], points) + matrices[:, None, :, 2]
    mirrored = np.linalg.det(matrices[:, :, :2]) < 0
    moved[mirrored] = moved[mirrored][:, [1, 0, 2, 4, 3]]
    return np.asarray(moved, dtype=np.float32)


def _degrade(crop: NDArray[np.uint8], spec: Augment, rng: np.random.Generator) -> None:
    """Change the pixels of one crop in place. The same number of draws is made whatever the outcome."""
    light, channels, chances, levels = rng.uniform(-1, 1, 3), rng.uniform(-1, 1, 3), rng.random(8), rng.random(12)
    seed = int(rng.integers(2**32))
    if spec.light or spec.colour:
        crop[:] = relight(crop, tone_curves(spec, light, channels))
    if chances[0] < spec.grey:
        crop[:] = cv2.cvtColor(crop, cv2.COLOR_RGB2GRAY)[..., None]
    if chances[1] < spec.occlusion:
        sides = np.maximum(1, np.round(levels[:2] * spec.largest * CROP)).astype(int)
        y, x = np.floor(levels[2:4] * (CROP - sides + 1)).astype(int)
        crop[y : y + sides[0], x : x + sides[1]] = np.round(levels[4] * 255)
    if chances[5] < spec.dark:
        darken(crop, levels[8], seed)
    if chances[6] < spec.motion:
        smear(crop, 2 + levels[9] * (spec.length - 2), levels[10])
    if chances[2] < spec.blur:
        sigma = 0.3 + levels[5] * (spec.sigma - 0.3) if spec.sigma > 0.3 else spec.sigma
        crop[:] = blur(crop, sigma)
    if chances[3] < spec.low_resolution:
        # sizes are spread evenly in the logarithm: halving is as likely at any size
        side = max(spec.smallest, round(spec.smallest * (CROP / spec.smallest) ** levels[6]))
        small = cv2.resize(crop, (side, side), interpolation=cv2.INTER_AREA)
        cv2.resize(small, (CROP, CROP), dst=crop, interpolation=cv2.INTER_LINEAR)
    if chances[7] < spec.noise:
        add_noise(crop, 2 + levels[11] * (spec.grain - 2), seed)
    if chances[4] < spec.jpeg:
        quality = round(spec.quality + levels[7] * (95 - spec.quality))
        crop[:] = compress(crop[..., ::-1], quality)[..., ::-1]


def tone_curves(spec: Augment, light: NDArray[np.float64], channels: NDArray[np.float64]) -> NDArray[np.float64]:
    """Gamma, gain and a smaller offset as one curve for each channel, (..., 256, 3), of draws (..., 3) in -1..1."""
    gamma, gain, offset = np.moveaxis(light, -1, 0)[..., None] * spec.light
    curve = (np.arange(256) / 255.0) ** np.exp(gamma) * (1 + gain) + offset * 0.25
    table = curve[..., None] * (1 + channels[..., None, :] * spec.colour)
    return np.asarray(np.round(table * 255))
