"""Why a measurement could not be made."""

from __future__ import annotations

from service.errors import FacetError


class BenchError(FacetError):
    """The measurement could not be made; the message says what to do."""

    code = "bench_error"
