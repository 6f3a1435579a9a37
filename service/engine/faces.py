"""The face of a photograph that is meant, its template, and whether it is fit and recognisable."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from typing import Literal

import numpy as np

from service.face.embedding.embed import Embedder, Templates
from service.face.errors import FaceError, FaceUnfit, ImageError
from service.face.quality import Reason
from service.pipeline import FaceFound, Scene
from service.runtime.timing import Stages

FaceChoice = Literal["prominent", "single"]
QualityChoice = Literal["enforce", "report"]


def embed(embedder: Embedder, faces: Sequence[FaceFound], stages: Stages) -> Templates:
    """Make templates of faces, also of none.

    Raises:
        ModelError.
    """
    with stages.stage("embed"):
        if not faces:
            return Templates(np.empty((0, embedder.dim), np.float32), np.empty(0, np.float32), None)
        return embedder.templates(np.stack([face.crop for face in faces]))


def recognise(
    embedder: Embedder,
    faces: Sequence[FaceFound],
    templates: Templates,
    quality: QualityChoice = "report",
    images: Sequence[str | None] = (),
) -> list[FaceFound]:
    """Note for each face how recognisable the model finds it, if the model can tell.

    Args:
        embedder: The model.
        faces: N faces.
        templates: Theirs, N rows.
        quality: Whether an unrecognisable face is an error.
        images: The names of their images, for the error.

    Raises:
        FaceUnfit: One is unrecognisable, and that is enforced.
    """
    if templates.recognisability is None or embedder.cut is None:
        return list(faces)
    judged = [
        replace(face, quality=face.quality.recognised(float(value), embedder.cut))
        for face, value in zip(faces, templates.recognisability, strict=True)
    ]
    for face, image in zip(judged, images or [None] * len(judged), strict=True):
        require_recognisable(face, quality, image)
    return judged


def require_recognisable(face: FaceFound, quality: QualityChoice, image: str | None) -> None:
    """Refuse a face that the model cannot recognise.

    Raises:
        FaceUnfit: It is unrecognisable, and that is enforced.
    """
    if quality == "enforce" and Reason.UNRECOGNISABLE in face.quality.reasons:
        error = FaceUnfit("the face is unrecognisable", [str(Reason.UNRECOGNISABLE)])
        error.image = image
        raise error


@contextmanager
def naming(image: str) -> Iterator[None]:
    """Say in an error which image of the request it is about."""
    try:
        yield
    except (ImageError, FaceError) as error:
        error.image = image
        raise


def choose(scene: Scene, faces: FaceChoice, quality: QualityChoice) -> FaceFound:
    """Return the face that is meant.

    Raises:
        FaceError: There is none, or several where one is wanted, or it is unfit and that is enforced.
    """
    face = scene.single() if faces == "single" else scene.prominent()
    if quality == "enforce" and face.quality.reasons:
        reasons = [str(reason) for reason in face.quality.reasons]
        raise FaceUnfit(f"the face is unfit: {', '.join(reasons)}", reasons)
    return face
