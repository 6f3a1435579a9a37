"""An exported graph that has no manifest yet, as something that embeds crops."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from service.face.embedding.embed import normalise
from service.face.embedding.preprocess import to_tensor
from service.face.manifest import InputSpec
from service.face.session import ModelSession, Runtime
from training.atomic_folder import digest_file


class OnnxNet:
    """A graph as something that embeds crops, before it has a manifest."""

    def __init__(self, path: Path, pixels: InputSpec, dim: int, threads: int = 1) -> None:
        """Raises: ModelInvalid."""
        self._session = ModelSession(path, Runtime(threads))
        self.input = pixels
        self.dim = dim
        self.digest = digest_file(path)

    def embed(self, crops: NDArray[np.uint8]) -> NDArray[np.float32]:
        """RGB uint8 (N, 128, 128, 3) -> float32 (N, dim), unit rows."""
        return normalise(self.run(to_tensor(crops, self.input)))

    def run(self, pixels: NDArray[np.float32]) -> NDArray[np.float32]:
        """Network input (N, 3, H, W) -> its one output (N, dim)."""
        return self._session.run(pixels)[self._session.outputs[0]]
