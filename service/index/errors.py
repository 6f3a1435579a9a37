"""What can go wrong with the vectors of an index."""

from __future__ import annotations

from service.errors import FacetError


class VectorInvalid(FacetError):
    """A template or probe is not a finite unit vector of the model's dimension."""

    code = "vector_invalid"


class ScoreInvalid(FacetError):
    """A comparison gave no cosine: it is neither a match nor none."""

    code = "score_invalid"

    def __init__(self, score: float) -> None:
        """Name the score."""
        super().__init__(f"A comparison gave {score}, which is no cosine: nothing was decided.")
