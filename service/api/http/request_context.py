"""What is known of the request being served: its id, its caller, its model and collection, how it ended."""

from __future__ import annotations

import random
import re
from contextlib import ExitStack
from contextvars import ContextVar
from dataclasses import dataclass, field

from starlette.types import Scope as AsgiScope

from service.runtime.spans import NO_SPAN, RequestSpan

ACCEPTABLE = re.compile(r"[A-Za-z0-9._:-]{1,128}")

current_request_id: ContextVar[str] = ContextVar("current_request_id", default="-")
"""The request id of the running task or worker, for log lines."""

current_trace_id: ContextVar[str] = ContextVar("current_trace_id", default="")
"""The id of its trace, where it is in one."""


@dataclass(slots=True)
class RequestContext:
    """Filled in as a request passes through the layers; read once, at its end, by metrics and log."""

    request_id: str
    principal: str = ""
    key: str = ""
    """The id of the key that was sent, also where it was refused."""
    model: str = ""
    collection: str | None = None
    """Of a request that decides or enrols: its collection, '' for two images. None of any other."""
    code: str = ""
    target: str | None = None
    """The id of whom or what a request concerned."""
    noted: bool = False
    """Whether observers were told of it already."""
    fault: Exception | None = None
    held: ExitStack = field(default_factory=ExitStack)
    """What is given back when the answer is sent."""
    span: RequestSpan = NO_SPAN


def request_id_from(text: str | None) -> str:
    """The client's request id when it is short and plain, or else a new one.

    A name and no secret: asking the system for randomness would let go of the interpreter's lock in the event loop.
    """
    return text if text is not None and ACCEPTABLE.fullmatch(text) else f"{random.getrandbits(128):032x}"


def context_of(scope: AsgiScope) -> RequestContext:
    """The context of a request, made by the middleware when the request came in."""
    context: RequestContext = scope["state"]["context"]
    return context
