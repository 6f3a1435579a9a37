"""What a route declares: the body it takes and the problems it may answer, for the reader and for OpenAPI."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Awaitable, Callable
from typing import Annotated, Any, TypeVar

from fastapi import Path, Request

from service.api.http import body as bodies
from service.api.http import errors as api
from service.api.http.body import FORM, JSON, expected_size, read_body
from service.api.http.problems import FRAMEWORK, MEDIA_TYPE, row_of
from service.api.http.request_context import ACCEPTABLE, context_of
from service.api.services import services_of
from service.database import errors as database
from service.errors import FacetError
from service.face import errors as face
from service.keys import KeyInvalid, TooManyGuesses
from service.runtime.executor import Overloaded, Stopping

M = TypeVar("M", bound=bodies.Request)

CALLER = (
    api.KeyRequired,
    KeyInvalid,
    api.KeyInQuery,
    api.ScopeMissing,
    api.RateLimited,
    TooManyGuesses,
    api.RequestInvalid,
)
"""Problems of every route that asks for a key."""

BODY = (
    api.BodyMalformed,
    api.BodyTooLarge,
    api.BodyTimeout,
    api.TooManyParts,
    api.MediaTypeUnsupported,
    Overloaded,
    Stopping,
)
"""Problems of every route that takes a body."""

IMAGE = (
    face.ImageTooLarge,
    face.ImageTooManyPixels,
    face.ImageUnsupported,
    face.ImageCorrupt,
)
"""Problems of every route that looks at images."""

STORE = (
    database.StorageBusy,
    database.StorageFull,
    database.StorageReadOnly,
    database.StorageUnavailable,
    database.TemplateDamaged,
)
"""Problems of every route that reads or writes the gallery."""

GALLERY = (*CALLER, *STORE, api.CollectionForbidden)
"""Problems of every route that reads or changes who is enrolled."""

ERASURE = (database.ErasureUnfinished,)
"""Problems of every route that erases."""

CollectionName = Annotated[str, Path(min_length=1, max_length=200, description="Name of the collection.")]
SubjectName = Annotated[str, Path(min_length=1, max_length=200, description="Name of the subject.")]
FaceId = Annotated[str, Path(min_length=1, max_length=64, description="Id of the face.")]

JSON_EXAMPLES: dict[str, dict[str, object]] = {
    "VerifyRequest": {"probe": "<base64>", "reference": "<base64>", "fmr": 0.001},
    "IdentifyRequest": {"image": "<base64>", "collection": "default", "top_k": 3},
    "EnrollRequest": {"subject": "person-1", "images": ["<base64>"], "duplicate": "warn"},
    "DetectRequest": {"image": "<base64>"},
    "EmbedRequest": {"image": "<base64>"},
    "CollectionRequest": {"name": "visitors", "metadata": {"site": "north"}},
    "CollectionChanges": {"keep_crops": True, "quality": "enforce"},
    "SubjectRequest": {"name": "person-2"},
    "MergeRequest": {"other": "person-2"},
    "FaceRequest": {"subject": "person-2"},
    "OutcomeRequest": {"outcome": "genuine"},
    "ReembeddingRequest": {"model": "facet-m", "collection": "visitors", "rate": 20},
    "RolesRequest": {"champion": "facet-m", "challenger": "facet-s", "sample": 0.1},
}


def body(schema: type[M], forms: bool = True) -> Callable[..., Awaitable[M]]:
    """Make a dependency that reads a body of `schema`, and holds its bytes' place until the answer is sent.

    It comes after the one that asks who the caller is: a place is held in the caller's name.
    """

    async def read(request: Request) -> M:
        services, context = services_of(request), context_of(request.scope)
        limits = services.body_limits.of(schema)
        size = expected_size(request, limits)
        services.executor.check(context.principal)
        context.held.enter_context(services.intake.hold(context.principal, size))
        return await read_body(request, schema, limits, forms)

    return read


REQUEST_ID = {
    "name": "X-Request-ID",
    "in": "header",
    "required": False,
    "schema": {"type": "string", "pattern": rf"^{ACCEPTABLE.pattern}$", "title": "X-Request-Id"},
    "description": "A name for this request, which the answer, its problem and the log bear too. Unset, or of another "
    "form: one is made.",
}
"""It is read of every request. Of one with two kinds of bodies it is declared: openapi-python-client imports what it
needs there only for an operation that has a parameter too (its issue 1451).
"""


def takes(schema: type[bodies.Request], forms: bool = True) -> dict[str, Any]:
    """The OpenAPI request body of `schema`, as JSON and, with `forms`, as a multipart form."""
    name = schema.__name__
    content: dict[str, Any] = {
        JSON: {"schema": {"$ref": f"#/components/schemas/{name}"}, "example": JSON_EXAMPLES[name]}
    }
    if forms:
        content = {FORM: {"schema": {"$ref": f"#/components/schemas/{form_name(schema)}"}}, **content}
    body = {"requestBody": {"required": True, "content": content}}
    return {"parameters": [REQUEST_ID], **body} if forms else body


def form_name(schema: type[bodies.Request]) -> str:
    """The component name of a request as a form: `VerifyRequest` is `VerifyForm`."""
    return schema.__name__.removesuffix("Request") + "Form"


def problems(*errors: type[FacetError]) -> dict[int | str, dict[str, Any]]:
    """The OpenAPI responses of the given errors, and of the unexpected one."""
    by_status: dict[int, dict[str, str]] = defaultdict(dict)
    for error in errors:
        status, title = row_of(error)
        by_status[status][error.code] = title
    by_status[500][FRAMEWORK[500][0]] = FRAMEWORK[500][1]
    return {status: _response(status, titles) for status, titles in sorted(by_status.items())}


def _response(status: int, titles: dict[str, str]) -> dict[str, Any]:
    response: dict[str, Any] = {
        "description": "; ".join(f"`{code}`: {title}" for code, title in sorted(titles.items())),
        "content": {
            MEDIA_TYPE: {
                "schema": {"$ref": "#/components/schemas/Problem"},
                "examples": {code: {"value": _example(status, code, title)} for code, title in sorted(titles.items())},
            }
        },
    }
    if status in (429, 503):
        response["headers"] = {
            "Retry-After": {"description": "Seconds to wait before another try.", "schema": {"type": "integer"}}
        }
    return response


def _example(status: int, code: str, title: str) -> dict[str, object]:
    return {
        "type": f"urn:facet:problem:{code}",
        "title": title,
        "status": status,
        "detail": title,
        "code": code,
        "request_id": "6a1f0d0c2b5e4f3c8a7d9e0b1c2d3e4f",
    }
