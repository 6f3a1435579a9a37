"""What can go wrong between pixels and a decision.

::

    FacetError
    |-- ImageError         ImageTooLarge, ImageTooManyPixels, ImageUnsupported, ImageCorrupt
    |-- FaceError          NoFace, SeveralFaces, FaceUnfit
    `-- ModelError         ModelNotFound, ModelInvalid, ModelDigestMismatch, ModelExists,
                           SpaceMismatch, ThresholdUnsupported, InferenceFailed
"""

from __future__ import annotations

from collections.abc import Sequence

from service.errors import FacetError


class ImageError(FacetError):
    """These bytes cannot become a photograph. `image` names it where a request has several: `probe`, `reference`."""

    code = "image_invalid"
    image: str | None = None


class ImageTooLarge(ImageError):
    code = "image_too_large"


class ImageTooManyPixels(ImageError):
    code = "image_too_many_pixels"


class ImageUnsupported(ImageError):
    code = "image_unsupported"


class ImageCorrupt(ImageError):
    code = "image_corrupt"


class FaceError(FacetError):
    """The photograph is readable, its faces are not what was asked for. `image` names it, as of an `ImageError`."""

    code = "face_error"
    image: str | None = None


class NoFace(FaceError):
    code = "no_face"


class SeveralFaces(FaceError):
    code = "several_faces"


class FaceUnfit(FaceError):
    """A face was found and its quality is below the limits; `reasons` says in which respects."""

    code = "face_unfit"

    def __init__(self, message: str, reasons: Sequence[str]) -> None:
        super().__init__(message)
        self.reasons = tuple(reasons)


class ModelError(FacetError):
    """A model cannot be found, trusted or used for what was asked."""

    code = "model_error"


class ModelNotFound(ModelError):
    code = "model_not_found"


class ModelInvalid(ModelError):
    code = "model_invalid"


class ModelDigestMismatch(ModelError):
    code = "model_digest_mismatch"


class ModelExists(ModelError):
    code = "model_exists"


class SpaceMismatch(ModelError):
    """Two templates come from different embedding spaces: a score between them means nothing."""

    code = "space_mismatch"


class ThresholdUnsupported(ModelError):
    """The model's calibration cannot support the false match rate asked for."""

    code = "threshold_unsupported"

    def __init__(self, message: str, supported: Sequence[float]) -> None:
        super().__init__(message)
        self.supported = tuple(supported)


class InferenceFailed(ModelError):
    code = "inference_failed"
