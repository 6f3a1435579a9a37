"""The five-point template, and the similarity warp that brings a face to it.

The template is that of ArcFace (Deng et al., CVPR 2019) for a 112x112 crop. The *canonical crop* of this
project is 128x128: the same template shifted by (+8, +8), so that it holds the 112x112 crop in its middle and
a margin of 8 pixels round it.
"""

from __future__ import annotations

import cv2
import numpy as np
from numpy.typing import NDArray

CROP = 128
MARGIN = 8

CANONICAL_LANDMARKS: NDArray[np.float32] = (
    np.array(
        [
            [38.2946, 51.6963],  # left eye of the picture
            [73.5318, 51.5014],  # right eye
            [56.0252, 71.7366],  # tip of the nose
            [41.5493, 92.3655],  # left corner of the mouth
            [70.7299, 92.2041],  # right corner of the mouth
        ],
        dtype=np.float32,
    )
    + MARGIN
)
"""Landmarks of an aligned face, (5, 2) in pixels of the canonical crop: ArcFace's, moved by the margin."""
CANONICAL_LANDMARKS.setflags(write=False)


def similarity(
    landmarks: NDArray[np.floating], target: NDArray[np.floating] = CANONICAL_LANDMARKS
) -> NDArray[np.float64]:
    """Least-squares similarity (rotation, uniform scale, shift; no reflection) from landmarks to others.

    `landmarks` and `target` are (5, 2) in pixels, x before y. Returns a (2, 3) matrix. The closed form of
    Umeyama (PAMI 1991), which in two dimensions is one complex division.

    Raises: ValueError when all landmarks coincide or are not finite.
    """
    source = np.asarray(landmarks, dtype=np.float64)
    goal = np.asarray(target, dtype=np.float64)
    if not np.all(np.isfinite(source)):
        raise ValueError("landmarks are not finite")
    source_mean, goal_mean = source.mean(axis=0), goal.mean(axis=0)
    s = (source - source_mean) @ np.array([1, 1j])
    w = (goal - goal_mean) @ np.array([1, 1j])
    energy = float(np.vdot(s, s).real)
    if energy < 1e-9:
        raise ValueError("all landmarks coincide")
    z = np.vdot(s, w) / energy
    linear = np.array([[z.real, -z.imag], [z.imag, z.real]])
    return np.column_stack([linear, goal_mean - linear @ source_mean])


def align(pixels: NDArray[np.uint8], landmarks: NDArray[np.floating]) -> NDArray[np.uint8]:
    """Warp one face to the canonical crop.

    `pixels` is RGB uint8 (H, W, 3), `landmarks` (5, 2) in its pixels. Returns RGB uint8 (128, 128, 3); what
    lies outside the photograph repeats its border. A face much larger than the crop is first averaged down:
    bilinear sampling alone would alias.

    Raises: ValueError when the landmarks are degenerate.
    """
    matrix = similarity(landmarks)
    scale = float(np.hypot(matrix[0, 0], matrix[1, 0]))
    if scale < 0.5:
        pixels, corner = _surroundings(pixels, matrix)
        height, width = pixels.shape[:2]
        factor = 2.0 * scale
        size = max(1, round(width * factor)), max(1, round(height * factor))
        pixels = np.asarray(cv2.resize(pixels, size, interpolation=cv2.INTER_AREA), dtype=np.uint8)
        ratio = np.array([size[0] / width, size[1] / height])
        # pixel centres: x' = (x + 1/2) * ratio - 1/2
        matrix = similarity((np.asarray(landmarks, dtype=np.float64) - corner + 0.5) * ratio - 0.5)
    warped = cv2.warpAffine(pixels, matrix, (CROP, CROP), flags=cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE)
    return np.asarray(warped, dtype=np.uint8)


def _surroundings(pixels: NDArray[np.uint8], matrix: NDArray[np.float64]) -> tuple[NDArray[np.uint8], tuple[int, int]]:
    """The part of a photograph that a crop is cut from, with a little round it, and its corner (x, y).

    Averaging down the rest of a large photograph would be wasted. At least one pixel is kept where the crop lies
    outside, for the border that is repeated there.
    """
    inverse = np.linalg.inv(matrix[:, :2])
    corners = (np.array([[0, 0], [CROP, 0], [0, CROP], [CROP, CROP]]) - matrix[:, 2]) @ inverse.T
    size = np.array(pixels.shape[1::-1])
    margin = 2.0 / np.hypot(matrix[0, 0], matrix[1, 0])
    left, top = np.clip(np.floor(corners.min(axis=0) - margin), 0, size - 1).astype(int).tolist()
    right, bottom = np.clip(np.ceil(corners.max(axis=0) + margin), (left + 1, top + 1), size).astype(int).tolist()
    return pixels[top:bottom, left:right], (left, top)
