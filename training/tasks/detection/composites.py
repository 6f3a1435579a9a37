"""Training tiles for the detector: scenes in mosaics, and aligned face crops pasted onto scenes without faces.

A tile is a pure function of sources, seed, index and size. Nothing here labels anything: the teacher looks at the very
pixels the student will see, so every blend, rotation or blur is labelled exactly.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray

from training.data.degradations import blur, compress, relight
from training.errors import SetMissing
from training.tasks.detection.scenes import read_bgr

Image = NDArray[np.uint8]

#: Shares of three of the four kinds of tile; the rest, a tenth, are faces that fill it.
MOSAIC, PASTED, TEXTURE = 0.40, 0.30, 0.20
#: Share of the tiles of textures that are made of what alarms a detector, and how much such a scene is zoomed.
ALARMING, ALARMING_ZOOM = 0.6, (0.4, 3.0)
#: Cells per side of a mosaic: one large scene up to sixteen small ones, hence faces of every size.
GRID, GRID_SHARE = (1, 2, 3, 4), (0.25, 0.35, 0.25, 0.15)
#: How much a scene may be reduced or enlarged, and one without faces in a tile of textures.
ZOOM, TEXTURE_ZOOM = (0.3, 2.0), (1.5, 6.0)
#: Face within a canonical crop (ArcFace 112 template with an 8 px margin): centre and half axes, as shares of the side.
FACE_CENTRE, FACE_AXES = (0.5, 0.55), (0.38, 0.47)


@dataclass(frozen=True, slots=True)
class Sources:
    """Files that tiles are made of.

    `scenes`: photographs with or without people; `empty`: scenes known to hold no face; `crops`: square aligned faces;
    `alarming`: scenes known to be free of people in which a detector sees a face all the same (animals, say).
    """

    scenes: tuple[Path, ...]
    empty: tuple[Path, ...]
    crops: tuple[Path, ...]
    alarming: tuple[Path, ...] = ()

    def __post_init__(self) -> None:
        for name in ("scenes", "empty", "crops"):
            if not getattr(self, name):
                raise SetMissing(f"no {name} to compose tiles from; give at least one image file")


def compose_tile(sources: Sources, seed: int, index: int, size: int = 320) -> Image:
    """Tile `index`: BGR uint8 (size, size, 3)."""
    rng = np.random.default_rng((seed, index))
    kind = rng.random()
    if kind < MOSAIC:
        tile = _mosaic(sources.scenes, rng, size)
    elif kind - MOSAIC < PASTED:
        tile = _paste_faces(_mosaic(sources.empty, rng, size, turned=False), sources.crops, rng)
    elif kind - MOSAIC - PASTED < TEXTURE:
        # heads and eyes of animals, wheels, leaves: what small views of the world mistake for faces
        if sources.alarming and rng.random() < ALARMING:
            tile = _mosaic(sources.alarming, rng, size, zooms=ALARMING_ZOOM)
        else:
            tile = _mosaic(sources.empty, rng, size, zooms=TEXTURE_ZOOM)
    else:
        tile = _close_face(sources.crops, _mosaic(sources.empty, rng, size, turned=False), rng)
    return _photometric(tile, rng)


def is_bare(sources: Sources, seed: int, index: int) -> bool:
    """Whether tile `index` is made of alarming scenes: it shows no face, whatever is taken for one."""
    rng = np.random.default_rng((seed, index))
    kind = rng.random()
    return bool(sources.alarming) and 0 <= kind - MOSAIC - PASTED < TEXTURE and rng.random() < ALARMING


def _pick(paths: Sequence[Path], rng: np.random.Generator) -> Image:
    return read_bgr(paths[int(rng.integers(len(paths)))])


def _resize(image: Image, width: int, height: int) -> Image:
    shrinks = width < image.shape[1]
    how = cv2.INTER_AREA if shrinks else (cv2.INTER_LINEAR, cv2.INTER_CUBIC)[(width + height) % 2]
    return np.asarray(cv2.resize(image, (width, height), interpolation=how), np.uint8)


def _scene_cell(image: Image, width: int, height: int, zoom: float, rng: np.random.Generator) -> Image:
    """A random window of `image` enlarged by `zoom`, or by as much more as it takes to cover the cell."""
    zoom = max(zoom, width / image.shape[1], height / image.shape[0])
    scaled = _resize(image, max(width, round(image.shape[1] * zoom)), max(height, round(image.shape[0] * zoom)))
    x = int(rng.integers(scaled.shape[1] - width + 1))
    y = int(rng.integers(scaled.shape[0] - height + 1))
    return scaled[y : y + height, x : x + width]


def _mosaic(
    paths: Sequence[Path],
    rng: np.random.Generator,
    size: int,
    turned: bool = True,
    zooms: tuple[float, float] = ZOOM,
) -> Image:
    cells = int(rng.choice(GRID, p=GRID_SHARE))
    inner = np.linspace(0, size, cells + 1)[1:-1] + rng.uniform(-0.1, 0.1, cells - 1) * size / cells
    cuts = [0, *(int(c) for c in inner), size]
    tile = np.empty((size, size, 3), np.uint8)
    for top, bottom in pairwise(cuts):
        for left, right in pairwise(cuts):
            image = _pick(paths, rng)
            if turned and rng.random() < 0.06:  # turned faces are the scene's own hard negatives
                image = np.ascontiguousarray(np.rot90(image, int(rng.integers(1, 4))))
            zoom = float(np.exp(rng.uniform(*np.log(zooms))))
            tile[top:bottom, left:right] = _scene_cell(image, right - left, bottom - top, zoom, rng)
    return tile


def _face_mask(side: int, rng: np.random.Generator) -> NDArray[np.float32]:
    """Float32 (side, side) in 0..1: a feathered ellipse around the face, at times the whole soft-edged crop."""
    mask = np.zeros((side, side), np.float32)
    if rng.random() < 0.67:
        centre = (round(FACE_CENTRE[0] * side), round(FACE_CENTRE[1] * side))
        grow = rng.uniform(0.95, 1.15)
        axes = (round(FACE_AXES[0] * side * grow), round(FACE_AXES[1] * side * grow))
        cv2.ellipse(mask, centre, axes, 0, 0, 360, 1.0, -1)
    else:
        edge = max(1, round(side * 0.04))
        mask[edge:-edge, edge:-edge] = 1.0
    sigma = side * rng.uniform(0.005, 0.04)
    return np.asarray(cv2.GaussianBlur(mask, (0, 0), max(sigma, 0.4)), np.float32)


def _paste_faces(tile: Image, crops: Sequence[Path], rng: np.random.Generator) -> Image:
    size = tile.shape[0]
    canvas = tile.astype(np.float32)
    for _ in range(int(rng.integers(1, 9))):
        side = float(np.exp(rng.uniform(np.log(22), np.log(size * 0.95))))
        centre = rng.uniform(0.0, 1.0, 2) * size
        _blend(canvas, _pick(crops, rng), side, centre, rng)
    return np.asarray(np.clip(canvas, 0, 255), np.uint8)


def _blend(
    canvas: NDArray[np.float32], crop: Image, side: float, centre: NDArray[np.float64], rng: np.random.Generator
) -> None:
    """Draw `crop` onto `canvas` in place: `side` px wide, rotated (seldom more than 25 degrees), blurred, re-lit."""
    size = canvas.shape[0]
    # shrink by area first: a warp alone would alias
    side_px = max(8, round(min(side, crop.shape[0])))
    crop = _resize(crop, side_px, side_px)
    face = crop.astype(np.float32) * rng.uniform(0.75, 1.2) + rng.uniform(-15, 15)
    if rng.random() < 0.25:
        face = np.asarray(cv2.GaussianBlur(face, (0, 0), float(rng.uniform(0.4, 1.2))), np.float32)
    angle = float(rng.normal(0, 12) if rng.random() < 0.85 else rng.uniform(-70, 70))
    warp = cv2.getRotationMatrix2D((side_px / 2, side_px / 2), angle, side / side_px)
    warp[:, 2] += centre - side_px / 2
    mask = cv2.warpAffine(_face_mask(side_px, rng), warp, (size, size))[..., None]
    canvas += mask * (cv2.warpAffine(face, warp, (size, size), borderMode=cv2.BORDER_REPLICATE) - canvas)


def _close_face(crops: Sequence[Path], tile: Image, rng: np.random.Generator) -> Image:
    """One face that fills the tile or reaches beyond it."""
    size = tile.shape[0]
    canvas = tile.astype(np.float32)
    side = size * float(rng.uniform(0.85, 2.0))
    centre = size / 2 + rng.uniform(-0.25, 0.25, 2) * side
    _blend(canvas, _pick(crops, rng), side, centre, rng)
    return np.asarray(np.clip(canvas, 0, 255), np.uint8)


def _photometric(tile: Image, rng: np.random.Generator) -> Image:
    """Light, colour, blur, noise and compression of an ordinary camera."""
    light = (np.arange(256, dtype=np.float32) / 255) ** float(np.exp(rng.normal(0, 0.25)))
    light = (light - 0.5) * float(rng.uniform(0.65, 1.25)) + 0.5 + float(rng.normal(0, 0.07))
    tint = 1 + rng.normal(0, 0.05, 3)
    tile = relight(tile, light[:, None] * tint * 255)
    if rng.random() < 0.1:
        tile = np.asarray(cv2.cvtColor(cv2.cvtColor(tile, cv2.COLOR_BGR2GRAY), cv2.COLOR_GRAY2BGR), np.uint8)
    if rng.random() < 0.12:
        tile = blur(tile, float(rng.uniform(0.4, 1.3)))
    if rng.random() < 0.15:
        noise = rng.normal(0, rng.uniform(2, 10), tile.shape[:2]).astype(np.float32)
        tile = np.clip(tile + noise[..., None], 0, 255).astype(np.uint8)
    if rng.random() < 0.25:
        tile = compress(tile, int(rng.integers(35, 90)))
    return tile
