"""What can go wrong, as exceptions.

::

    FacetError
    |-- Unreachable         no answer: no connection, or it broke, or the time was up
    |-- AnswerInvalid       an answer that is not Facet's
    `-- Problem             the service said no: `code`, `detail`, `request_id`
        |-- Unauthorised, Forbidden, NotFound, Conflict, Busy, ServiceFailed    by status
        |-- ImageRefused, FaceRefused, ...                                      by code

Programs decide by class or by `code`: codes are stable, and https://datatracker.ietf.org/doc/html/rfc9457 describes the
form in which they come.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

TYPE = "urn:facet:problem:"


class FacetError(Exception):
    """Whatever this client raises on purpose."""


class Unreachable(FacetError):
    """There was no answer: no connection, one that broke, or the time was up. What was asked may have been done."""


class AnswerInvalid(FacetError):
    """The answer is not one of Facet's: something else answers there, or a version unknown to this client."""


class Problem(FacetError):
    """The service refused or failed.

    Attributes:
        status: The HTTP status.
        code: The stable name of the problem, as in the service's docs/errors.md.
        title: The kind of problem, in words.
        detail: What happened this time.
        request_id: What the service's log knows the request by.
        retry_after: Seconds to wait before another attempt, where the service said so.
        image: Which image it is about: `probe`, `reference`, `images[3]`; None where it is about none.
        members: Everything that the problem says.
    """

    def __init__(self, status: int, members: Mapping[str, Any], request_id: str, retry_after: float | None) -> None:
        self.status = status
        self.members = dict(members)
        self.code = str(members.get("code") or str(members.get("type", "")).removeprefix(TYPE) or f"http_{status}")
        self.title = str(members.get("title", ""))
        self.detail = str(members.get("detail", ""))
        self.request_id = request_id
        self.retry_after = retry_after
        self.image: str | None = members.get("image")
        super().__init__(f"{self.detail or self.title or status} [{self.code}, request {request_id}]")


class Unauthorised(Problem):
    """No key, or one that is not valid (401)."""


class Forbidden(Problem):
    """The key may not do this (403)."""


class NotFound(Problem):
    """There is no such thing (404)."""


class Conflict(Problem):
    """What is there already stands against it (409)."""


class Busy(Problem):
    """Too much at once (429, 503): it may be asked again after `retry_after`."""


class ServiceFailed(Problem):
    """The service is at fault (5xx); its log has the details under `request_id`."""


class RequestInvalid(Problem):
    """A field of the request is wrong."""

    @property
    def errors(self) -> list[dict[str, str]]:
        """Each wrong field, with a message."""
        return list(self.members.get("errors", []))


class ImageRefused(Problem):
    """A file is no image, is damaged or is too large."""


class FaceRefused(Problem):
    """An image shows no face, several, or one that is unfit."""

    @property
    def reasons(self) -> tuple[str, ...]:
        """Why the face is unfit."""
        return tuple(self.members.get("reasons", ()))


class NoFace(FaceRefused):
    """An image shows no face."""


class SeveralFaces(FaceRefused):
    """An image shows several faces, where one was asked for."""


class FaceUnfit(FaceRefused):
    """The face is unfit, for the `reasons`."""


class ThresholdUnsupported(Problem):
    """The model's calibration cannot support the false match rate that was asked for."""

    @property
    def supported_fmr(self) -> tuple[float, ...]:
        """Rates that it can."""
        return tuple(self.members.get("supported_fmr", ()))


class EnrolmentRefused(Problem):
    """No image could be enrolled."""

    @property
    def images(self) -> list[dict[str, Any]]:
        """The problem of each image: `image`, `code`, `detail`."""
        return list(self.members.get("images", []))


class CollectionNotFound(NotFound):
    """There is no such collection."""


class SubjectNotFound(NotFound):
    """Nobody of that name is enrolled."""


class FaceNotFound(NotFound):
    """There is no such face."""


class ModelNotFound(NotFound):
    """No such model is loaded."""


class DuplicateSubject(Conflict):
    """The face belongs to another subject."""

    @property
    def duplicates(self) -> list[dict[str, Any]]:
        """Those who have it: `subject`, `score`."""
        return list(self.members.get("duplicates", []))


BY_CODE: dict[str, type[Problem]] = {
    "request_invalid": RequestInvalid,
    "image_too_large": ImageRefused,
    "image_too_many_pixels": ImageRefused,
    "image_unsupported": ImageRefused,
    "image_corrupt": ImageRefused,
    "image_invalid": ImageRefused,
    "face_error": FaceRefused,
    "no_face": NoFace,
    "several_faces": SeveralFaces,
    "face_unfit": FaceUnfit,
    "threshold_unsupported": ThresholdUnsupported,
    "enrolment_refused": EnrolmentRefused,
    "collection_not_found": CollectionNotFound,
    "subject_not_found": SubjectNotFound,
    "face_not_found": FaceNotFound,
    "model_not_found": ModelNotFound,
    "duplicate_subject": DuplicateSubject,
}
"""Classes of problems that programs tell apart; every other code has the class of its status."""

BY_STATUS: dict[int, type[Problem]] = {
    401: Unauthorised,
    403: Forbidden,
    404: NotFound,
    409: Conflict,
    429: Busy,
    503: Busy,
}


def problem_of(status: int, members: Mapping[str, Any], request_id: str, retry_after: float | None) -> Problem:
    """Make the exception of a refusal."""
    code = str(members.get("code", ""))
    kind = BY_CODE.get(code) or BY_STATUS.get(status) or (ServiceFailed if status >= 500 else Problem)
    return kind(status, members, request_id, retry_after)
