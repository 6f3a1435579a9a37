"""Painted face masks: surgical or cloth, over nose, mouth and chin of a canonical crop.

A canonical crop has its landmarks where the template has them, so a mask needs none: it hangs between the cheeks, below
the eyes, and is jittered. Its cloth takes the light of the face beneath it, and folds.
"""

from __future__ import annotations

import cv2
import numpy as np
from numpy.typing import NDArray

from service.face.align import CROP

MIDDLE = CROP / 2
UPPER = 7
"""How many points of the outline are its upper edge, from one cheek over the nose to the other."""
OUTLINE = np.array(
    [(24, 74), (38, 76), (52, 73), (64, 70), (76, 73), (90, 76), (104, 74)]
    + [(103, 96), (95, 112), (80, 124), (64, 128), (48, 124), (33, 112), (25, 96)],
    np.float32,
)
CLOTHS = np.array(
    [(242, 243, 245), (176, 205, 226), (120, 170, 200), (28, 28, 32), (60, 62, 70), (150, 190, 160), (230, 180, 195)],
    np.float32,
)
"""White, two surgical blues, black, grey, green, pink: RGB."""


def paint_mask(crop: NDArray[np.uint8], seed: int) -> None:
    """Cover nose, mouth and chin of one crop, RGB uint8 (128, 128, 3), in place; one seed, one mask."""
    rng = np.random.Generator(np.random.SFC64(seed))
    outline = OUTLINE + rng.normal(0, 1.5, OUTLINE.shape).astype(np.float32)
    outline[:UPPER, 1] += rng.uniform(-7, 7) + (14 if rng.random() < 0.15 else 0)  # some are pulled below the nose
    outline[:, 0] = MIDDLE + (outline[:, 0] - MIDDLE) * rng.uniform(0.86, 1.1) + rng.uniform(-3, 3)
    cover = np.zeros((CROP, CROP), np.uint8)
    cv2.fillPoly(cover, [np.round(outline * 16).astype(np.int32)], 255, cv2.LINE_AA, 4)
    alpha = cv2.GaussianBlur(cover, (0, 0), rng.uniform(0.5, 1.3)).astype(np.float32)[..., None] / 255
    crop[:] = np.clip(crop * (1 - alpha) + _weave(crop, rng) * alpha, 0, 255).astype(np.uint8)


def _weave(crop: NDArray[np.uint8], rng: np.random.Generator) -> NDArray[np.float32]:
    """Cloth of one colour, sometimes patterned, under the light of the face: float32 (128, 128, 3)."""
    colour = CLOTHS[rng.integers(len(CLOTHS))] if rng.random() < 0.8 else rng.uniform(0, 255, 3)
    cloth = np.tile(np.clip(colour + rng.normal(0, 8, 3), 0, 255).astype(np.float32), (CROP, CROP, 1))
    if rng.random() < 0.15:
        coarse = rng.uniform(0.6, 1.3, (rng.integers(4, 24), rng.integers(4, 24), 3)).astype(np.float32)
        cloth *= cv2.resize(coarse, (CROP, CROP), interpolation=cv2.INTER_CUBIC)
    light = cv2.GaussianBlur(cv2.cvtColor(crop, cv2.COLOR_RGB2GRAY), (0, 0), 14).astype(np.float32)
    cloth *= (0.55 + 0.45 * light / max(1.0, float(light[48:80].mean())))[..., None]
    places = np.arange(CROP, dtype=np.float32)
    bend = (places[None, :] - MIDDLE) ** 2 * rng.uniform(-0.006, 0.004)
    folds = np.sin((places[:, None] + bend) / rng.uniform(1.6, 4.0) + rng.uniform(0, 6))
    return np.asarray(cloth * (1 + rng.uniform(0, 0.06) * folds)[..., None], np.float32)
