"""The faces of a photograph: a network, and how far to look with it."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from service.face.detection.detection import Detection
from service.face.detection.network import DetectorNetwork
from service.face.detection.search import DetectionLimits, Search, Seek
from service.face.manifest import Manifest
from service.face.session import ModelSession


class Detector:
    """Finds faces. Safe to call from many threads at once."""

    def __init__(self, manifest: Manifest, session: ModelSession, limits: DetectionLimits | None = None) -> None:
        """Raises: ModelInvalid when the graph lacks the heads of this layout."""
        self.manifest = manifest
        self.network = DetectorNetwork(manifest, session)
        self.provider = session.provider
        self.limits = limits or DetectionLimits()

    def detect(self, pixels: NDArray[np.uint8], seek: Seek = Seek.PROMINENT) -> list[Detection]:
        """Find faces in an RGB uint8 (H, W, 3) photograph, the most prominent first.

        Whatever could be what is sought was looked at closely. Other faces, some of which are missed, are as the view
        showed them.

        Raises: InferenceFailed.
        """
        return Search(self.network, self.limits, pixels, seek).find()
