"""Canonical crops to templates: unit vectors in a named space."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from service.face.embedding.normalisation import Normalisation
from service.face.embedding.preprocess import to_tensor
from service.face.embedding.recognisability import Recognisability, bounded
from service.face.errors import InferenceFailed, ModelInvalid
from service.face.manifest import Manifest
from service.face.session import ModelSession


@dataclass(frozen=True, slots=True)
class Templates:
    """What an embedder gives for N crops.

    `vectors`: float32 (N, D), rows of unit length. `offsets`: float32 (N,), added to every score of the template; zero
    for a model without normalisation. `recognisability`: float32 (N,), 0..1, or None where the model cannot tell.
    """

    vectors: NDArray[np.float32]
    offsets: NDArray[np.float32]
    recognisability: NDArray[np.float32] | None


class Embedder:
    """One embedding network, run as its manifest says. Safe to call from many threads at once."""

    def __init__(
        self,
        manifest: Manifest,
        session: ModelSession,
        normalisation: Normalisation | None = None,
        recognisability: Recognisability | None = None,
    ) -> None:
        """Raises: ModelInvalid when graph and manifest disagree on the input's or the outputs' shape."""
        spec = manifest.input
        declared = session.input_shape
        input_shape = (3, spec.height, spec.width)
        if len(declared) != 4 or any(d not in (None, w) for d, w in zip(declared[1:], input_shape, strict=True)):
            raise ModelInvalid(f"{manifest.identity}: the graph takes {declared}, the manifest says (N, {input_shape})")
        if manifest.output is None or manifest.space is None:
            raise ModelInvalid(f"{manifest.identity}: not an embedder")
        self._confidence = manifest.output.confidence
        others = [name for name in session.outputs if name != self._confidence]
        if len(others) != 1 or len(session.outputs) != (1 if self._confidence is None else 2):
            raise ModelInvalid(
                f"{manifest.identity}: the graph has the outputs {', '.join(session.outputs)}, not one of vectors"
                + (f" and {self._confidence}" if self._confidence is not None else "")
            )
        self._output = others[0]
        shape = session.output_shapes[self._output]
        if shape and shape[-1] not in (None, manifest.output.dim):  # a graph need not declare what it gives
            raise ModelInvalid(f"{manifest.identity}: the graph gives {shape}, the manifest says {manifest.output.dim}")
        self.manifest = manifest
        self.dim = manifest.output.dim
        self.digest = manifest.sha256
        self.space = manifest.space
        self.normalisation = normalisation
        self.cut = manifest.recognisability.cut if manifest.recognisability is not None else None
        self._recognisability = recognisability
        self._session = session
        self.provider = session.provider
        self._one_by_one = declared[0] == 1

    def embed(self, crops: NDArray[np.uint8]) -> NDArray[np.float32]:
        """Embed canonical crops, RGB uint8 (N, 128, 128, 3). Returns float32 (N, D), rows of unit length.

        Raises: InferenceFailed when the network returns another shape, or a vector that has no direction.
        """
        return normalise(self.run(crops)[0])

    def templates(self, crops: NDArray[np.uint8]) -> Templates:
        """Embed canonical crops, RGB uint8 (N, 128, 128, 3), with what belongs to a template beside its vector.

        Raises: InferenceFailed as `embed` does, or when a number is not finite.
        """
        raw, confidence = self.run(crops)
        vectors = normalise(raw)
        if confidence is None and self._recognisability is not None:
            confidence = self._recognisability.of(raw)
        return Templates(vectors, self.offsets(vectors), confidence)

    def offsets(self, vectors: NDArray[np.float32]) -> NDArray[np.float32]:
        """What is added to the scores of unit vectors (N, D): float32 (N,), zeros without a normalisation."""
        if self.normalisation is None:
            return np.zeros(len(vectors), np.float32)
        return self.normalisation.offsets(vectors)

    def run(self, crops: NDArray[np.uint8]) -> tuple[NDArray[np.float32], NDArray[np.float32] | None]:
        """The graph's vectors (N, D) before they are normalised, and its own output of recognisability (N,), if any.

        Raises: InferenceFailed when the network returns another shape.
        """
        tensor = to_tensor(crops, self.manifest.input)
        batches = np.split(tensor, len(tensor)) if self._one_by_one and len(tensor) > 1 else [tensor]
        outputs = [self._session.run(batch) for batch in batches]
        flat = [each[self._output].reshape(-1) for each in outputs]
        for values, batch in zip(flat, batches, strict=True):
            if len(values) != len(batch) * self.dim:
                raise InferenceFailed(
                    f"{self.manifest.identity} gave {len(values)} values for {len(batch)} faces, not {self.dim} each"
                )
        vectors = np.concatenate(flat).reshape(len(tensor), self.dim)
        if self._confidence is None:
            return vectors, None
        confidences = np.concatenate([each[self._confidence].reshape(-1) for each in outputs])
        return vectors, bounded(confidences, len(vectors), self.manifest.identity)


def normalise(vectors: NDArray[np.float32]) -> NDArray[np.float32]:
    """Scale rows of (N, D) to unit length. Raises: InferenceFailed for a row that is zero or not finite."""
    norms = np.linalg.norm(vectors, axis=1, keepdims=True)
    if not np.all(np.isfinite(norms)) or np.any(norms < 1e-12):
        raise InferenceFailed("the network gave a vector that has no direction")
    return np.asarray(vectors / norms, dtype=np.float32)
