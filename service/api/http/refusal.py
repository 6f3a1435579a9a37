"""The answer to what never became a request: a problem, as the bytes to write before the connection closes."""

from __future__ import annotations

import http
import math
import random

from service.api.http.problems import MEDIA_TYPE, Problem, row_of
from service.errors import FacetError


def refusal(error: FacetError) -> bytes:
    """A whole HTTP/1.1 response, after which the connection closes."""
    status, title = row_of(type(error))
    problem = Problem(
        type=f"urn:facet:problem:{error.code}",
        title=title,
        status=status,
        detail=str(error) or title,
        code=error.code,
        request_id=f"{random.getrandbits(128):032x}",
    )
    body = problem.model_dump_json().encode()
    seconds = getattr(error, "retry_after", None)
    head = [
        f"HTTP/1.1 {status} {http.HTTPStatus(status).phrase}",
        f"Content-Type: {MEDIA_TYPE}",
        f"Content-Length: {len(body)}",
        f"X-Request-ID: {problem.request_id}",
        "Cache-Control: no-store",
        *([] if seconds is None else [f"Retry-After: {math.ceil(seconds)}"]),
        "Connection: close",
    ]
    return "\r\n".join([*head, "", ""]).encode("ascii") + body
