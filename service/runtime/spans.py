"""What is told of a request while it is served, and to whom: nobody, unless tracing is set."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from contextlib import AbstractContextManager, nullcontext

Attributes = Mapping[str, str | int | float | bool]


class RequestSpan:
    """One request as a trace sees it; this one is in no trace."""

    trace_id = ""
    """32 hexadecimal digits (W3C Trace Context); '' in no trace."""

    def active(self) -> AbstractContextManager[object]:
        """Let the parts that this thread opens be parts of this request."""
        return nullcontext()

    def part(self, name: str) -> AbstractContextManager[object]:
        """Open a part of whatever part this thread is in."""
        return nullcontext()

    def note_past(self, name: str, seconds: float) -> None:
        """Note a part that ends now and took so long."""

    def end(self, name: str, attributes: Attributes, fault: str | None) -> None:
        """End it, under the name that it has by now; `fault` is the code of what the service is to blame for."""


NO_SPAN = RequestSpan()
BeginSpan = Callable[[Mapping[str, str], str], RequestSpan]
"""Begins the span of a request, by its headers and its path."""


def begin_none(headers: Mapping[str, str], path: str) -> RequestSpan:
    """Trace nothing."""
    return NO_SPAN
