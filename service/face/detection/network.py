"""A detector's network: views of a photograph in, glimpses of faces out."""

from __future__ import annotations

import cv2
import numpy as np
from numpy.typing import NDArray

from service.face.detection.detection import HEADS, STRIDES, Detection, decode, suppress
from service.face.errors import ModelInvalid
from service.face.manifest import Manifest
from service.face.session import ModelSession

STEP = STRIDES[-1]  # sides that the network takes are multiples of it
IOU = 0.3  # boxes overlapping more than this are one face


class DetectorNetwork:
    """Runs the graph. Safe to use from many threads at once."""

    def __init__(self, manifest: Manifest, session: ModelSession) -> None:
        """Raises: ModelInvalid when the graph lacks the heads this decoder reads."""
        missing = {f"{head}_{stride}" for head in HEADS for stride in STRIDES} - set(session.outputs)
        if missing:
            raise ModelInvalid(f"{manifest.identity}: not a detector of this layout, lacks {sorted(missing)[0]}")
        self.session = session
        self._blue_first = manifest.input.colour == "BGR"
        self._mean = np.asarray(manifest.input.mean, dtype=np.float32).reshape(1, 3, 1, 1)
        self._scale = np.asarray(manifest.input.scale, dtype=np.float32).reshape(1, 3, 1, 1)
        self._plain = not self._mean.any() and bool((self._scale == 1).all())

    def see(self, view: NDArray[np.uint8], min_score: float) -> list[Detection]:
        """Faces in an RGB uint8 (H, W, 3) view, in its pixels, the surest first. Raises: InferenceFailed."""
        height, width = (-(-side // STEP) * STEP for side in view.shape[:2])
        below, right = height - view.shape[0], width - view.shape[1]
        padded = cv2.copyMakeBorder(view, 0, below, 0, right, cv2.BORDER_CONSTANT) if below or right else view
        # OpenCV lets other threads run meanwhile, NumPy would not.
        tensor = np.asarray(cv2.dnn.blobFromImage(padded, swapRB=self._blue_first), dtype=np.float32)
        return suppress(decode(self._run(tensor), height, width, min_score), IOU)

    def _run(self, tensor: NDArray[np.float32]) -> dict[str, NDArray[np.float32]]:
        if not self._plain:
            tensor -= self._mean
            tensor *= self._scale
        return self.session.run(tensor)
