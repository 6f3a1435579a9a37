"""What turns crops into embeddings, wherever it comes from: the service, an exported graph, a run, dlib."""

from __future__ import annotations

from typing import Protocol

import numpy as np
from numpy.typing import NDArray


class Embeds(Protocol):
    """Something that embeds crops; `service.face.embedding.embed.Embedder` is one."""

    @property
    def dim(self) -> int:
        """Length of the embedding."""

    @property
    def digest(self) -> str:
        """SHA-256 of the weights."""

    def embed(self, crops: NDArray[np.uint8]) -> NDArray[np.float32]:
        """Embed RGB uint8 (N, 128, 128, 3) -> float32 (N, dim), unit rows."""
