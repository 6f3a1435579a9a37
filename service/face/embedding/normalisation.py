"""Score normalisation: a score is read against what its two faces score with strangers of their kind.

Two newborns, two pictures of one blur, two people of an ancestry that the network saw little of: strangers of such a
kind resemble one another more than strangers do in general, and a fixed threshold matches too many of them. Adaptive
score normalisation (AS-norm; Matejka et al., Interspeech 2017) takes from a score what its templates score with the
most similar strangers of a cohort. Here only the shift is kept, and it stands with each template::

    s' = <x, y> + o(x) + o(y),    o(x) = -strength / 2 * max(0, a(x) - ordinary)

a(x) is the mean score of x with its `nearest` closest members of the cohort; what is below `ordinary`, as faces of
ordinary photographs are, keeps its score. Its members are no faces but centres of clusters of at least five: nobody's
template is shipped. o(x) comes from the vector alone: a template that was stored years ago needs no photograph.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

from service.face.errors import InferenceFailed, ModelInvalid
from service.face.session import ModelSession

NORMALISATION = "normalisation.onnx"

Offsets = Callable[[NDArray[np.float32]], NDArray[np.float32]]
"""Unit vectors (N, D) to what is added to their scores (N,)."""


class Normalisation:
    """What is added to every score of a template. Safe to use from many threads at once."""

    def __init__(self, session: ModelSession, dim: int, digest: str) -> None:
        """`session` runs a graph from unit vectors (N, dim) to offsets (N,) or (N, 1); `digest` is its SHA-256.

        Raises: ModelInvalid when the graph has another shape.
        """
        if len(session.input_shape) != 2 or session.input_shape[1] not in (None, dim) or len(session.outputs) != 1:
            raise ModelInvalid(f"{NORMALISATION}: the graph takes {session.input_shape}, vectors are (N, {dim})")
        self.digest = digest
        self._session = session

    def offsets(self, vectors: NDArray[np.float32]) -> NDArray[np.float32]:
        """The offset of each unit vector (N, D): float32 (N,). Raises: InferenceFailed when one is not finite."""
        if not len(vectors):
            return np.empty(0, np.float32)
        values = self._session.run(np.ascontiguousarray(vectors, np.float32))[self._session.outputs[0]].reshape(-1)
        if len(values) != len(vectors) or not np.all(np.isfinite(values)):
            raise InferenceFailed(f"{NORMALISATION} gave no finite number for a template")
        return np.asarray(values, np.float32)


def as_probes(vectors: NDArray[np.float32], offsets: NDArray[np.float32]) -> NDArray[np.float32]:
    """Vectors (N, D) and offsets (N,) as (N, D+2), whose inner product with `as_references` is the normalised score."""
    return np.column_stack([vectors, offsets, np.ones(len(vectors))]).astype(np.float32)


def as_references(vectors: NDArray[np.float32], offsets: NDArray[np.float32]) -> NDArray[np.float32]:
    """The other side of `as_probes`: (N, D+2)."""
    return np.column_stack([vectors, np.ones(len(vectors)), offsets]).astype(np.float32)
