"""What lenses and encoders do to a picture: the steps that augmentation and corruptions of every task are made of."""

from __future__ import annotations

import cv2
import numpy as np
from numpy.typing import NDArray

Image = NDArray[np.uint8]


def blur(image: Image, sigma: float) -> Image:
    """Blur an image (H, W, 3) by a Gaussian of `sigma` pixels."""
    return np.asarray(cv2.GaussianBlur(image, (0, 0), sigma), np.uint8)


def compress(image: Image, quality: int) -> Image:
    """Encode a BGR image (H, W, 3) as JPEG of `quality` 0..100, and decode it."""
    _, encoded = cv2.imencode(".jpg", image, [cv2.IMWRITE_JPEG_QUALITY, quality])
    return np.asarray(cv2.imdecode(encoded, cv2.IMREAD_COLOR), np.uint8)


def relight(image: Image, curves: NDArray[np.floating]) -> Image:
    """Send an image (H, W, 3) through tone curves, (256,) for all channels or (256, 3) for each, clipped to 0..255."""
    table = np.clip(curves, 0, 255).astype(np.uint8)
    return np.asarray(cv2.LUT(image, table if table.ndim == 1 else table[:, None, :]), np.uint8)


def negate(image: Image) -> Image:
    """Turn an image (H, W, 3) into its colour negative."""
    return np.asarray(255 - image, np.uint8)


def pixelate(image: Image, side: int) -> Image:
    """Make an image (H, W, 3) of blocks, `side` across and as many down."""
    height, width = image.shape[:2]
    small = cv2.resize(image, (side, side), interpolation=cv2.INTER_AREA)
    return np.asarray(cv2.resize(small, (width, height), interpolation=cv2.INTER_NEAREST), np.uint8)
