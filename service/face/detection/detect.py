"""The faces of a photograph: a network, and how far to look with it."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from service.face.detection.detection import Detection
from service.face.detection.network import DetectorNetwork
from service.face.detection.search import DetectionLimits, Search, Seek
from service.face.manifest import Manifest
from service.face.session import ModelSession

LANDMARKS = "landmarks.onnx"


class Detector:
    """Finds faces. Safe to call from many threads at once."""

    def __init__(
        self,
        manifest: Manifest,
        session: ModelSession,
        limits: DetectionLimits | None = None,
        placer: ModelSession | None = None,
    ) -> None:
        """`placer` runs a second graph of the same layout that gives box and landmarks of a face seen from close by.

        Raises: ModelInvalid when a graph lacks the heads of this layout.
        """
        self.manifest = manifest
        self.provider = session.provider
        self.finder = DetectorNetwork(manifest, session)
        self.placer = DetectorNetwork(manifest, placer) if placer is not None else self.finder
        self.digests = (manifest.sha256, *((manifest.landmarks.sha256,) if manifest.landmarks is not None else ()))
        self.limits = limits or DetectionLimits()

    def detect(self, pixels: NDArray[np.uint8], seek: Seek = Seek.PROMINENT) -> list[Detection]:
        """Find faces in an RGB uint8 (H, W, 3) photograph, the most prominent first.

        Whatever could be what is sought was looked at closely. Other faces, some of which are missed, are as the view
        showed them.

        Raises: InferenceFailed.
        """
        return Search(self.finder, self.placer, self.limits, pixels, seek).find()
