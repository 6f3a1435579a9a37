"""Errors as CompreFace tells them: `{"message", "code"}`. One table says which of ours is which of theirs."""

from __future__ import annotations

import math

from fastapi import Request
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse, Response
from starlette.requests import ClientDisconnect

from service import keys
from service.api.http import errors as api
from service.api.http import problems
from service.api.http.request_context import context_of
from service.engine import results
from service.errors import FacetError
from service.face import errors as face
from service.gallery import errors as gallery
from service.index import errors as index
from service.runtime.executor import Overloaded

MODEL_NOT_FOUND, MISSING_HEADER, UNUSABLE_FILE, CONSTRAINT, NO_FACE = 10, 20, 21, 26, 28
SEVERAL_FACES, MISSING_PARAMETER, MISSING_PART, INCORRECT_ARGUMENT = 31, 33, 34, 36
EMBEDDING_COUNT, FACES_SERVICE, SUBJECT_NOT_FOUND, SUBJECT_EXISTS, EMBEDDING_NOT_FOUND = 37, 41, 42, 43, 44
PREDICTION_COUNT, UNDEFINED = 12, 0

TABLE: dict[type[FacetError], tuple[int, int]] = {
    api.KeyRequired: (400, MISSING_HEADER),
    api.KeyInQuery: (400, CONSTRAINT),
    keys.KeyInvalid: (404, MODEL_NOT_FOUND),
    api.ScopeMissing: (403, MODEL_NOT_FOUND),
    api.CollectionForbidden: (403, MODEL_NOT_FOUND),
    gallery.CollectionNotFound: (404, MODEL_NOT_FOUND),
    api.RequestInvalid: (400, CONSTRAINT),
    api.BodyMalformed: (400, CONSTRAINT),
    api.BodyTooLarge: (413, UNUSABLE_FILE),
    api.TooManyParts: (400, CONSTRAINT),
    gallery.NameInvalid: (400, CONSTRAINT),
    face.FaceUnfit: (400, CONSTRAINT),
    face.ImageError: (400, UNUSABLE_FILE),
    face.ImageTooLarge: (413, UNUSABLE_FILE),
    face.ImageTooManyPixels: (413, UNUSABLE_FILE),
    face.NoFace: (400, NO_FACE),
    face.SeveralFaces: (400, SEVERAL_FACES),
    index.VectorInvalid: (400, INCORRECT_ARGUMENT),
    gallery.SubjectNotFound: (404, SUBJECT_NOT_FOUND),
    gallery.SubjectExists: (400, SUBJECT_EXISTS),
    gallery.FaceNotFound: (404, EMBEDDING_NOT_FOUND),
    gallery.TemplateMissing: (404, EMBEDDING_NOT_FOUND),
    face.ThresholdUnsupported: (500, FACES_SERVICE),
    face.ModelError: (500, FACES_SERVICE),
}
"""HTTP status and code of CompreFace. Any other error keeps the status that it has at `/v1`, and has the code 0."""

WORDS: dict[type[FacetError], str] = {
    api.KeyRequired: "Missing header: x-api-key",
    face.NoFace: "No face is found in the given image",
    face.SeveralFaces: "More than one face in the source image",
    gallery.SubjectExists: "Subject already exists",
}
"""Messages that clients compare."""

FIELDS = {
    "query.prediction_count": (PREDICTION_COUNT, "Prediction count should be any positive number or -1"),
}
"""Fields whose faults have a code of their own."""
NONE_SENT = "takes at least 1, and 0 were sent"
UNEXPECTED = "Something went wrong, please try again"


def respond(request: Request, error: Exception) -> Response:
    """The response for any error."""
    match error:
        case RequestValidationError():
            faults = [api.Fault(".".join(map(str, fault["loc"])), fault["msg"]) for fault in error.errors()]
            return respond(request, api.RequestInvalid(faults))
        case results.EnrolmentRefused(images=(results.ImageOutcome(error=FacetError() as refusal),)):
            return respond(request, refusal)
        case FacetError():
            return _expected(request, error)
        case ClientDisconnect():
            return problems.respond(request, error)
        case _:
            context = context_of(request.scope)
            context.fault, context.code = error, problems.FRAMEWORK[500][0]
            return _response(500, UNDEFINED, UNEXPECTED)


def status_and_code(kind: type[FacetError]) -> tuple[int, int]:
    """HTTP status and CompreFace's code of an error class, or of the nearest class above it."""
    for base in kind.__mro__:
        if base in TABLE:
            return TABLE[base]
    return problems.row_of(kind)[0], UNDEFINED


def _expected(request: Request, error: FacetError) -> Response:
    context = context_of(request.scope)
    context.code = error.code
    status, code = status_and_code(type(error))
    if status >= 500 and not isinstance(error, Overloaded):
        context.fault = error
    message = WORDS.get(type(error), keys.mask(str(error)))
    if isinstance(error, api.RequestInvalid):
        code, message = _worded(error)
    if status == 500:
        message = UNEXPECTED
    response = _response(status, code, message)
    if (seconds := getattr(error, "retry_after", None)) is not None:
        response.headers["Retry-After"] = str(math.ceil(seconds))
    return response


def _worded(error: api.RequestInvalid) -> tuple[int, str]:
    """Code and message of the first fault."""
    fault = error.faults[0]
    place, _, name = fault.field.partition(".")
    if fault.message == "Field required" and name:
        if place == "query":
            return MISSING_PARAMETER, f"Required parameter {name} is missing"
        return MISSING_PART, f"Required part {name} is missing"
    if fault.message.startswith("must be base64"):
        return UNUSABLE_FILE, "Provided value is not Base64"
    if fault.field in ("body.embeddings", "body.targets") and fault.message == NONE_SENT:
        return EMBEDDING_COUNT, "1 embeddings were expected, but 0 were provided"
    return FIELDS.get(fault.field, (CONSTRAINT, f"{name or place}: {fault.message}"))


def _response(status: int, code: int, message: str) -> Response:
    return JSONResponse({"message": message, "code": code}, status)
