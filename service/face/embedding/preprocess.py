"""Canonical crops to a network's input, from the manifest's spec and nothing else.

Training and serving both come through here, so preprocessing cannot drift between them.
"""

from __future__ import annotations

import cv2
import numpy as np
from numpy.typing import NDArray

from service.face.align import CROP, MARGIN
from service.face.manifest import InputSpec

INTERPOLATION = {"linear": cv2.INTER_LINEAR, "area": cv2.INTER_AREA}


def to_tensor(crops: NDArray[np.uint8], spec: InputSpec) -> NDArray[np.float32]:
    """Cut the spec's region from canonical crops, resize, order the channels and normalise.

    `crops` is RGB uint8 (N, 128, 128, 3). Returns float32 (N, 3, spec.height, spec.width), contiguous, holding
    `(value - mean) * scale` per channel in the spec's colour order, values 0..255 before.

    Raises: ValueError for crops of another shape or type, or a spec that does not describe an aligned input.
    """
    if crops.dtype != np.uint8 or crops.ndim != 4 or crops.shape[1:] != (CROP, CROP, 3):
        raise ValueError(f"expected uint8 crops (N, {CROP}, {CROP}, 3), got {crops.dtype} {crops.shape}")
    if spec.region is None or spec.width is None or spec.height is None:
        raise ValueError("the model's input is not an aligned crop of fixed size")
    x0, y0, x1, y1 = (edge + MARGIN for edge in spec.region)
    size = (spec.width, spec.height)
    resized = crops[:, y0:y1, x0:x1]
    if (x1 - x0, y1 - y0) != size:
        interpolation = INTERPOLATION[spec.resample]
        out = np.empty((len(crops), spec.height, spec.width, 3), dtype=np.uint8)
        for source, target in zip(resized, out, strict=True):
            cv2.resize(source, size, dst=target, interpolation=interpolation)
        resized = out
    if spec.colour == "BGR":
        resized = resized[..., ::-1]
    mean = np.asarray(spec.mean, dtype=np.float32).reshape(1, 3, 1, 1)
    scale = np.asarray(spec.scale, dtype=np.float32).reshape(1, 3, 1, 1)
    tensor = np.ascontiguousarray(resized.transpose(0, 3, 1, 2), dtype=np.float32)
    tensor -= mean
    tensor *= scale
    return tensor
