"""What cameras do to a face beyond blur and compression: movement, a sensor's noise, too little light.

Each function changes one crop, RGB uint8 (128, 128, 3), in place. What is random comes in as numbers, so that a batch
stays a pure function of its seed.
"""

from __future__ import annotations

import cv2
import numpy as np
from numpy.typing import NDArray

LEAST_GAIN = 0.15
"""The darkest exposure, as a share of the right one."""


def smear(crop: NDArray[np.uint8], length: float, angle: float) -> None:
    """Blur along a line of `length` pixels at `angle` (0..1 of half a turn): the camera or the head moved."""
    side = 2 * max(1, int(np.ceil(length / 2))) + 1
    reach = length / 2 * np.array([np.cos(np.pi * angle), np.sin(np.pi * angle)])
    ends = np.round(((side - 1) / 2 + np.stack([-reach, reach])) * 16).astype(int)
    line = np.zeros((side, side), np.uint8)
    cv2.line(line, ends[0].tolist(), ends[1].tolist(), 255, 1, cv2.LINE_AA, 4)
    kernel = line.astype(np.float32)
    cv2.filter2D(crop, -1, kernel / kernel.sum(), dst=crop, borderType=cv2.BORDER_REPLICATE)


def add_noise(crop: NDArray[np.uint8], level: float, seed: int) -> None:
    """Add shot and read noise; `level` is its standard deviation on mid-grey, in grey levels."""
    drawn = np.random.Generator(np.random.SFC64(seed)).standard_normal(crop.shape, dtype=np.float32)
    # photons arrive at random: the variance grows with the signal, above the floor that reading adds
    spread = level * np.sqrt(0.3 + 0.7 * np.arange(256, dtype=np.float32) / 128)
    crop[:] = np.clip(crop + drawn * spread[crop], 0, 255).astype(np.uint8)


def darken(crop: NDArray[np.uint8], dimness: float, seed: int) -> None:
    """Expose too little and amplify what there is: dark, flat, noisy, in few grey levels. `dimness` in 0..1."""
    gain = LEAST_GAIN ** (0.3 + 0.7 * dimness)
    levels = np.arange(256)
    crop[:] = cv2.LUT(crop, np.round(levels * gain).astype(np.uint8))
    add_noise(crop, 1 + 2 * dimness, seed)
    crop[:] = cv2.LUT(crop, np.clip(np.round(levels * gain**-0.6), 0, 255).astype(np.uint8))
