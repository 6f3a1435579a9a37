"""Recognisability: how far a template can be trusted to be one person's, and nobody else's.

A network has to put everything somewhere: an inverted face, a dog, a texture, a face of twelve pixels. Such templates
lie close to one another, whoever is on them, so no threshold saves their comparisons (Terhoerst et al., SER-FIQ, CVPR
2020; Deng et al., "Harnessing Unrecognizable Faces", WACV 2023). The measure is the expected cosine between the
template and the one that a clean photograph of the same face would give: 1 is clean, 0 unrelated. A model's own graph
gives it as a second output, or a small network beside it reads it off the vector *before* it is scaled to unit length,
whose direction and length both tell.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from service.face.errors import InferenceFailed, ModelInvalid
from service.face.session import ModelSession

RECOGNISABILITY = "recognisability.onnx"


class Recognisability:
    """A small network from raw vectors to their recognisability. Safe to use from many threads at once."""

    def __init__(self, session: ModelSession, dim: int) -> None:
        """`session` runs a graph from vectors (N, dim), as the model's graph gives them, to (N,) or (N, 1).

        Raises: ModelInvalid when the graph has another shape.
        """
        if len(session.input_shape) != 2 or session.input_shape[1] not in (None, dim) or len(session.outputs) != 1:
            raise ModelInvalid(f"{RECOGNISABILITY}: the graph takes {session.input_shape}, vectors are (N, {dim})")
        self._session = session

    def of(self, raw: NDArray[np.float32]) -> NDArray[np.float32]:
        """The recognisability of each vector (N, D) that is not normalised: float32 (N,), 0..1.

        Raises: InferenceFailed when one is not finite.
        """
        output = self._session.run(np.ascontiguousarray(raw, np.float32))[self._session.outputs[0]]
        return bounded(output, len(raw), RECOGNISABILITY)


def bounded(values: NDArray[np.float32], count: int, source: str) -> NDArray[np.float32]:
    """`count` recognisabilities within 0..1 from a graph's output. Raises: InferenceFailed when they are not."""
    flat = np.asarray(values, np.float32).reshape(-1)
    if len(flat) != count or not np.all(np.isfinite(flat)):
        raise InferenceFailed(f"{source} gave no finite recognisability for a face")
    return np.clip(flat, 0.0, 1.0)
