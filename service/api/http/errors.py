"""What can be wrong with a request before anything looks at its faces.

::

    FacetError
    `-- ApiError
        |-- BadRequest, HeadTooLarge, HeadTimeout, TooManyConnections
        |-- BodyMalformed, BodyTooLarge, BodyTimeout, TooManyParts, MediaTypeUnsupported
        |-- RequestInvalid
        |-- KeyRequired, KeyInQuery, ScopeMissing, CollectionForbidden
        |-- RateLimited
        `-- NotReady
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from service.errors import FacetError


class ApiError(FacetError):
    """The root of what the HTTP layer raises."""

    code = "api_error"


class BadRequest(ApiError):
    """What was sent is not HTTP as the service speaks it."""

    code = "bad_request"


class HeadTooLarge(ApiError):
    """The request line and the headers are larger, or more, than a request may have."""

    code = "head_too_large"


class HeadTimeout(ApiError):
    """A request was begun, and its headers did not come."""

    code = "head_timeout"


class TooManyConnections(ApiError):
    """There is no place for one more connection from this address."""

    code = "too_many_connections"
    retry_after = 1


class BodyMalformed(ApiError):
    """The body is not of the form that its route asks for."""

    code = "body_malformed"


class BodyTooLarge(ApiError):
    """The body has more bytes than may be sent."""

    code = "body_too_large"


class BodyTimeout(ApiError):
    """The body did not arrive in time."""

    code = "body_timeout"


class TooManyParts(ApiError):
    """A form has more parts, or more images, than a request may have."""

    code = "too_many_parts"


class MediaTypeUnsupported(ApiError):
    """The body is neither a form nor JSON."""

    code = "media_type_unsupported"


@dataclass(frozen=True, slots=True)
class Fault:
    """One wrong field: where it stands (`body.fmr`, `query.limit`) and what is wrong with it."""

    field: str
    message: str


class RequestInvalid(ApiError):
    """Fields are missing, unknown, contradictory or of the wrong type; `faults` lists every one."""

    code = "request_invalid"

    def __init__(self, faults: Sequence[Fault]) -> None:
        super().__init__("; ".join(f"{fault.field}: {fault.message}" for fault in faults[:5]))
        self.faults = tuple(faults)


class KeyRequired(ApiError):
    """No key came with the request."""

    code = "key_required"


class KeyInQuery(ApiError):
    """A key stands in the address, where logs and proxies see it."""

    code = "key_in_query"


class ScopeMissing(ApiError):
    """The key may not do this."""

    code = "scope_missing"


class CollectionForbidden(ApiError):
    """The key may not touch this collection."""

    code = "collection_forbidden"


class RateLimited(ApiError):
    """The caller's rate is used up; `retry_after` is in whole seconds."""

    code = "rate_limited"

    def __init__(self, message: str, retry_after: int) -> None:
        super().__init__(message)
        self.retry_after = retry_after


class NotReady(ApiError):
    """A loaded model does not answer, or the gallery does not."""

    code = "not_ready"
    retry_after = 5
