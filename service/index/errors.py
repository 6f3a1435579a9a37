"""What can go wrong with the vectors of an index."""

from __future__ import annotations

from service.errors import FacetError


class VectorInvalid(FacetError):
    """A template or probe is not a finite unit vector of the model's dimension."""

    code = "vector_invalid"
