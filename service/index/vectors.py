"""Templates as bytes: little-endian float16, and the checks that vectors and scores pass before they count.

Half precision rounds a coordinate of a unit vector by at most 2**-12 of itself, which moves a cosine by less than 1e-3
in the worst case and by about 1e-5 in practice; the database and every index derived from it hold the same numbers.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from service.index.base import Vector
from service.index.errors import ScoreInvalid, VectorInvalid

UNIT_TOLERANCE = 1e-2
LOWEST = -2.0


def check(vectors: NDArray[np.float32], dim: int | None) -> NDArray[np.float32]:
    """Check `vectors` (N,D); returns them as contiguous float32.

    Raises:
        VectorInvalid: Not two-dimensional, of another dimension than `dim`, not finite, or not of unit length.
    """
    checked = np.ascontiguousarray(vectors, np.float32)
    if checked.ndim != 2 or checked.shape[1] == 0:
        raise VectorInvalid(f"Templates are rows of one matrix, not an array of shape {checked.shape}.")
    if dim is not None and checked.shape[1] != dim:
        raise VectorInvalid(f"The model's templates have {dim} dimensions, not {checked.shape[1]}.")
    if not np.all(are_units(checked)):
        raise VectorInvalid("A template is a finite vector of length 1; normalise it first.")
    return checked


def are_units(vectors: NDArray[np.float32]) -> NDArray[np.bool_]:
    """Return which of the rows of (N,D) are finite and of unit length, to the tolerance."""
    with np.errstate(invalid="ignore", over="ignore"):
        lengths = np.linalg.norm(vectors, axis=1)
        # A comparison with NaN is false: this also refuses what is not finite, which an index answers with nonsense.
        return np.asarray(np.abs(lengths - 1.0) <= UNIT_TOLERANCE)


def score(value: float) -> float:
    """Return the score of two templates, -2..1: a cosine, or one lowered by what belongs to each of them.

    Rounding may have taken it a little above 1.

    Raises:
        ScoreInvalid: Not a number, or further beyond than rounding explains.
    """
    if not LOWEST - 2 * UNIT_TOLERANCE <= value <= 1.0 + 2 * UNIT_TOLERANCE:
        raise ScoreInvalid(value)
    return min(1.0, max(LOWEST, value))


def stored_form(vector: Vector) -> Vector:
    """Round one template (D,) as the database stores it: to float16, given back in float32."""
    return vector.astype("<f2").astype(np.float32)


def pack(vector: Vector) -> bytes:
    """Pack one template (D,) as D little-endian float16."""
    return np.ascontiguousarray(vector, "<f2").tobytes()


def unpack(blobs: Sequence[bytes], dim: int) -> NDArray[np.float16]:
    """Unpack N templates as (N,D) float16.

    Raises:
        VectorInvalid: A blob is not of D values; the database is damaged.
    """
    joined = b"".join(blobs)
    if dim < 1 or len(joined) != 2 * dim * len(blobs) or any(len(blob) != 2 * dim for blob in blobs):
        raise VectorInvalid(f"A stored template is not of {dim} dimensions: the database is damaged.")
    return np.frombuffer(joined, "<f2").reshape(len(blobs), dim)
