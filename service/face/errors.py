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
    """The bytes are more than are taken."""

    code = "image_too_large"


class ImageTooManyPixels(ImageError):
    """The photograph has more pixels than are decoded."""

    code = "image_too_many_pixels"


class ImageUnsupported(ImageError):
    """The bytes are of no format that is read."""

    code = "image_unsupported"


class ImageCorrupt(ImageError):
    """The format is read, but the bytes end early or are damaged."""

    code = "image_corrupt"


class FaceError(FacetError):
    """The photograph is readable, its faces are not what was asked for. `image` names it, as of an `ImageError`."""

    code = "face_error"
    image: str | None = None


class NoFace(FaceError):
    """No face was found."""

    code = "no_face"


class SeveralFaces(FaceError):
    """Several faces were found where there must be one."""

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
    """No model has that name, version or digest."""

    code = "model_not_found"


class ModelInvalid(ModelError):
    """A model's files are missing, or are not what its manifest says."""

    code = "model_invalid"


class ModelDigestMismatch(ModelError):
    """A file is not the one that the manifest names."""

    code = "model_digest_mismatch"


class ModelExists(ModelError):
    """A model of that name and version is there already."""

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
    """A graph failed, or gave no finite number."""

    code = "inference_failed"
