"""Asking again: when it is safe, and after which pause."""

from __future__ import annotations

import random
from dataclasses import dataclass

from facet_client.calls import Call
from facet_client.errors import FacetError, Problem, Unreachable

TRANSIENT = frozenset({408, 429, 502, 503, 504})
UNTOUCHED = frozenset({"rate_limited", "overloaded", "too_many_connections", "stopping", "not_ready"})
"""Refusals before anything was done: what is asked again cannot happen twice."""


@dataclass(frozen=True, slots=True)
class Retries:
    """How often to ask again, and how long to wait in between.

    The pause is what `Retry-After` says; without it, a random time below `first` seconds, doubled with each attempt.
    A pause longer than `most` seconds is not waited for. `Retries(0)` never asks again.
    """

    times: int = 4
    first: float = 0.5
    most: float = 60.0

    def pause(self, call: Call[object], error: FacetError, attempt: int) -> float | None:
        """Seconds to wait after a failed attempt, counted from 0; None when it is not to be asked again."""
        if attempt >= self.times or not _is_safe(call, error):
            return None
        if isinstance(error, Problem) and error.retry_after is not None:
            return error.retry_after if error.retry_after <= self.most else None
        return random.uniform(0, min(self.most, self.first * 2**attempt))  # noqa: S311 - no secret


def _is_safe(call: Call[object], error: FacetError) -> bool:
    """Whether what failed may be done again: it passes, and either changes nothing twice or was not begun."""
    match error:
        case Unreachable():
            return call.repeatable
        case Problem():
            return error.status in TRANSIENT and (call.repeatable or error.code in UNTOUCHED)
        case _:
            return False
