"""Canonical crops to templates: unit vectors in a named space."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from service.face.errors import InferenceFailed, ModelInvalid
from service.face.manifest import Manifest
from service.face.preprocess import to_tensor
from service.face.session import ModelSession


class Embedder:
    """One embedding network, run as its manifest says. Safe to call from many threads at once."""

    def __init__(self, manifest: Manifest, session: ModelSession) -> None:
        """Raises: ModelInvalid when graph and manifest disagree on the input's or the output's shape."""
        spec = manifest.input
        declared = session.input_shape
        wanted = (3, spec.height, spec.width)
        if len(declared) != 4 or any(d not in (None, w) for d, w in zip(declared[1:], wanted, strict=True)):
            raise ModelInvalid(f"{manifest.identity}: the graph takes {declared}, the manifest says (N, {wanted})")
        if manifest.output is None or manifest.space is None:
            raise ModelInvalid(f"{manifest.identity}: not an embedder")
        if len(session.outputs) != 1:
            raise ModelInvalid(f"{manifest.identity}: the graph has {len(session.outputs)} outputs, not one")
        shape = session.output_shapes[session.outputs[0]]
        if shape[-1] not in (None, manifest.output.dim):
            raise ModelInvalid(f"{manifest.identity}: the graph gives {shape}, the manifest says {manifest.output.dim}")
        self.manifest = manifest
        self.dim = manifest.output.dim
        self.digest = manifest.sha256
        self.space = manifest.space
        self._session = session
        self._one_by_one = declared[0] == 1

    def embed(self, crops: NDArray[np.uint8]) -> NDArray[np.float32]:
        """Embed canonical crops, RGB uint8 (N, 128, 128, 3). Returns float32 (N, D), rows of unit length.

        Raises: InferenceFailed when the network returns another shape, or a vector that has no direction.
        """
        tensor = to_tensor(crops, self.manifest.input)
        batches = np.split(tensor, len(tensor)) if self._one_by_one and len(tensor) > 1 else [tensor]
        name = self._session.outputs[0]
        vectors = np.concatenate([self._session.run(batch)[name].reshape(len(batch), -1) for batch in batches])
        if vectors.shape[1] != self.dim:
            raise InferenceFailed(f"{self.manifest.identity} gave {vectors.shape[1]} values, not {self.dim}")
        return normalise(vectors)


def normalise(vectors: NDArray[np.float32]) -> NDArray[np.float32]:
    """Scale rows of (N, D) to unit length. Raises: InferenceFailed for a row that is zero or not finite."""
    norms = np.linalg.norm(vectors, axis=1, keepdims=True)
    if not np.all(np.isfinite(norms)) or np.any(norms < 1e-12):
        raise InferenceFailed("the network gave a vector that has no direction")
    return np.asarray(vectors / norms, dtype=np.float32)
