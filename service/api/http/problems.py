"""Errors become problem details (RFC 9457) here and nowhere else."""

from __future__ import annotations

import math
from typing import Any

from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse
from pydantic import BaseModel, ConfigDict, Field
from starlette.exceptions import HTTPException
from starlette.requests import ClientDisconnect

from service import keys, settings
from service.api.http import errors as api
from service.api.http.request_context import context_of
from service.database import errors as database
from service.engine import results
from service.errors import FacetError
from service.face import errors as face
from service.gallery import errors as gallery
from service.index import errors as index
from service.rollout import errors as rollout
from service.rollout.backfill import errors as reembedding
from service.runtime import executor, timing

MEDIA_TYPE = "application/problem+json"

TABLE: dict[type[FacetError], tuple[int, str]] = {
    FacetError: (500, "Internal error"),
    settings.SettingsInvalid: (500, "Settings are not valid"),
    # requests
    api.ApiError: (400, "Bad request"),
    api.BadRequest: (400, "Bad request"),
    api.HeadTooLarge: (431, "The head of the request is too large"),
    api.HeadTimeout: (408, "The headers came too slowly"),
    api.BodyMalformed: (400, "The body cannot be read"),
    api.BodyTooLarge: (413, "The body is too large"),
    api.BodyTimeout: (408, "The body came too slowly"),
    api.TooManyParts: (413, "Too many parts"),
    api.MediaTypeUnsupported: (415, "Unsupported media type"),
    api.RequestInvalid: (422, "The request is not valid"),
    api.NotReady: (503, "Not ready"),
    # callers
    api.KeyRequired: (401, "A key is required"),
    api.KeyInQuery: (400, "A key may not stand in the address"),
    api.ScopeMissing: (403, "The key may not do this"),
    api.CollectionForbidden: (403, "The key may not touch this collection"),
    api.RateLimited: (429, "Too many requests"),
    keys.KeyInvalid: (401, "The key is not valid"),
    keys.KeyNotFound: (404, "No such key"),
    keys.TooManyGuesses: (429, "Too many wrong keys"),
    # load
    api.TooManyConnections: (503, "Too many connections"),
    executor.Overloaded: (503, "Overloaded"),
    executor.Stopping: (503, "Stopping"),
    timing.Abandoned: (499, "The client went away"),
    # images
    face.ImageError: (422, "The image cannot be used"),
    face.ImageTooLarge: (413, "The image is too large"),
    face.ImageTooManyPixels: (413, "The image has too many pixels"),
    face.ImageUnsupported: (415, "Unsupported image format"),
    face.ImageCorrupt: (422, "The image is damaged"),
    # faces
    face.FaceError: (422, "The face cannot be used"),
    face.NoFace: (422, "No face found"),
    face.SeveralFaces: (422, "Several faces found"),
    face.FaceUnfit: (422, "The face is unfit"),
    results.EnrolmentRefused: (422, "No image could be enrolled"),
    # models
    face.ModelError: (500, "Model error"),
    face.ModelNotFound: (404, "No such model"),
    face.ModelInvalid: (500, "The model is not valid"),
    face.ModelDigestMismatch: (500, "The model's digest is wrong"),
    face.ModelExists: (409, "The model exists"),
    face.SpaceMismatch: (409, "The models do not share a space"),
    face.ThresholdUnsupported: (422, "The false match rate is not supported"),
    face.InferenceFailed: (500, "Inference failed"),
    # trying and changing models
    rollout.RolloutError: (500, "Comparison error"),
    rollout.ChampionUnavailable: (503, "The champion is not loaded"),
    rollout.RolesInvalid: (422, "The roles are not valid"),
    rollout.ChallengerMissing: (409, "There is no challenger"),
    rollout.NothingToRollBack: (409, "Nothing to roll back to"),
    rollout.CoverageMissing: (409, "The model lacks templates"),
    rollout.DecisionNotFound: (404, "No such decision"),
    rollout.ModelRefused: (422, "The model is refused"),
    rollout.ModelInUse: (409, "The model is in use"),
    # making templates again
    reembedding.ReembeddingError: (500, "Re-embedding error"),
    reembedding.ReembeddingRunning: (409, "A job of this model runs already"),
    reembedding.ReembeddingNotFound: (404, "No such job"),
    reembedding.ReembeddingEnded: (409, "The job has ended"),
    reembedding.TemplatesNeeded: (409, "The champion needs these templates"),
    # gallery
    gallery.GalleryError: (500, "Gallery error"),
    gallery.CollectionNotFound: (404, "No such collection"),
    gallery.CollectionExists: (409, "The collection exists"),
    gallery.SubjectNotFound: (404, "No such subject"),
    gallery.SubjectExists: (409, "The subject exists"),
    gallery.SamePerson: (422, "The two are one person"),
    gallery.DuplicateSubject: (409, "The face belongs to another subject"),
    gallery.FaceNotFound: (404, "No such face"),
    gallery.CropMissing: (404, "No crop is kept"),
    gallery.FaceExists: (409, "The face exists"),
    gallery.TemplateMissing: (409, "No template of this model"),
    gallery.NameInvalid: (422, "The name is not valid"),
    index.VectorInvalid: (422, "The vector is not valid"),
    index.ScoreInvalid: (500, "A score is not a number"),
    database.CursorInvalid: (422, "The cursor is not valid"),
    gallery.IdempotencyConflict: (409, "The idempotency key was used before"),
    gallery.EnrolmentErased: (410, "The person was erased"),
    gallery.ArchiveInvalid: (422, "The archive is not valid"),
    gallery.ArchiveConflict: (409, "The archive conflicts with the gallery"),
    database.BackupInvalid: (422, "The backup is not valid"),
    database.StorageError: (503, "Storage error"),
    database.StorageBusy: (503, "The gallery is busy"),
    database.StorageFull: (507, "The disk is full"),
    database.StorageReadOnly: (503, "The storage cannot be written"),
    database.StorageUnavailable: (503, "The storage is unavailable"),
    database.TemplateDamaged: (409, "The template is damaged"),
    database.ErasureUnfinished: (503, "The erasure goes on"),
    database.StorageLocked: (503, "The storage is locked"),
    database.KeyMissing: (503, "The template key is missing"),
}
"""Every error class: its status and title. Codes stand on the classes."""

FRAMEWORK: dict[int, tuple[str, str]] = {
    400: ("bad_request", "Bad request"),
    404: ("route_not_found", "No such route"),
    405: ("method_not_allowed", "Method not allowed"),
    413: ("body_too_large", "The body is too large"),
    500: ("internal_error", "Internal error"),
}
"""Status codes that the web framework raises by itself: code and title."""

INTERNAL = "Something failed that should not have. The log has the details under this request id."


class Problem(BaseModel):
    """What went wrong, for people (`title`, `detail`) and for programs (`code`). RFC 9457."""

    model_config = ConfigDict(extra="allow")

    type: str = Field(description="`urn:facet:problem:` and the code.", examples=["urn:facet:problem:no_face"])
    title: str = Field(description="The kind of problem, in words.", examples=["No face found"])
    status: int = Field(description="The HTTP status.", examples=[422])
    detail: str = Field(description="What happened this time, and what to do.")
    code: str = Field(description="Stable name of the problem.", examples=["no_face"])
    request_id: str = Field(description="The id under which the log knows this request.")


def row_of(kind: type[FacetError]) -> tuple[int, str]:
    """Status and title of an error class, or of the nearest class above it."""
    return next(TABLE[base] for base in kind.__mro__ if base in TABLE)


def members(error: FacetError) -> dict[str, Any]:
    """What an error tells beyond its message: extension members of the problem."""
    extension: dict[str, Any] = {}
    match error:
        case api.RequestInvalid():
            extension = {"errors": [{"field": fault.field, "message": fault.message} for fault in error.faults]}
        case face.FaceUnfit():
            extension = {"reasons": list(error.reasons)}
        case face.ThresholdUnsupported():
            extension = {"supported_fmr": list(error.supported)}
        case results.EnrolmentRefused():
            extension = {
                "images": [
                    {"image": f"images[{number}]", **reason_of(image.error)}
                    for number, image in enumerate(error.images)
                    if image.error is not None
                ]
            }
        case rollout.CoverageMissing():
            extension = {"faces": error.faces}
        case gallery.DuplicateSubject():
            extension = {"duplicates": [{"subject": hit.subject, "score": hit.score} for hit in error.hits]}
    if (image := getattr(error, "image", None)) is not None:
        extension["image"] = image
    return extension


def reason_of(error: FacetError) -> dict[str, Any]:
    """An error as part of an answer: its code, its message and its members."""
    return {"code": error.code, "detail": str(error), **members(error)}


def respond(request: Request, error: Exception) -> JSONResponse:
    """The response for any error. One that nobody expected tells nothing of the inside."""
    match error:
        case FacetError():
            return _expected(request, error)
        case HTTPException():
            code, title = FRAMEWORK.get(error.status_code, ("http_error", "HTTP error"))
            headers = dict(error.headers or {})
            return _problem(request, error.status_code, title, code, str(error.detail), headers, {})
        case RequestValidationError():
            faults = [api.Fault(".".join(map(str, fault["loc"])), fault["msg"]) for fault in error.errors()]
            return _expected(request, api.RequestInvalid(faults))
        case ClientDisconnect():
            return _expected(request, timing.Abandoned("the client went away while it sent its request"))
        case _:
            context_of(request.scope).fault = error
            code, title = FRAMEWORK[500]
            return _problem(request, 500, title, code, INTERNAL, {}, {})


def install(app: FastAPI) -> None:
    """Answer every error of `app` as a problem. The middleware does so for those of no known class."""
    for kind in (FacetError, HTTPException, RequestValidationError, ClientDisconnect):
        app.add_exception_handler(kind, _handle)


async def _handle(request: Request, error: Exception) -> JSONResponse:
    return respond(request, error)


def _expected(request: Request, error: FacetError) -> JSONResponse:
    status, title = row_of(type(error))
    if status >= 500 and not isinstance(error, executor.Overloaded):
        context_of(request.scope).fault = error
    headers = {}
    if (seconds := getattr(error, "retry_after", None)) is not None:
        headers["Retry-After"] = str(math.ceil(seconds))
    if status == 401:
        headers["WWW-Authenticate"] = "Bearer"
    # The message of a fault of our own may name files: the log has it, the caller does not.
    detail = INTERNAL if status == 500 else keys.mask(str(error)) or title
    return _problem(request, status, title, error.code, detail, headers, members(error))


def _problem(
    request: Request,
    status: int,
    title: str,
    code: str,
    detail: str,
    headers: dict[str, str],
    extra: dict[str, Any],
) -> JSONResponse:
    context = context_of(request.scope)
    context.code = code
    body = Problem(
        type=f"urn:facet:problem:{code}",
        title=title,
        status=status,
        detail=detail,
        code=code,
        request_id=context.request_id,
        **extra,
    )
    return JSONResponse(body.model_dump(), status, headers, MEDIA_TYPE)
