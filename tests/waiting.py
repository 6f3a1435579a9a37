"""Waiting for a state, as long as it takes: a machine may be busy, and only what never comes is a failure."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import TypeVar

T = TypeVar("T")

PATIENCE = 600.0
"""Seconds after which something is taken never to come; no test waits as long when all is well."""


def await_that(state: Callable[[], T]) -> T:
    """Wait until what `state` returns is true, and return it."""
    until = time.monotonic() + PATIENCE
    while not (seen := state()):
        assert time.monotonic() < until, f"it never came; at last there was {seen!r}"
        time.sleep(0.01)
    return seen
