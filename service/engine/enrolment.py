"""What an enrolment makes of its photographs before the gallery gets them."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from service.database.schema import new_id
from service.engine.enrolment_report import measures
from service.engine.faces import FaceChoice, QualityChoice, choose, embed, recognise
from service.engine.results import ImageOutcome
from service.face.decoding.image import encode_png
from service.face.detection.search import Seek
from service.face.embedding.embed import Embedder
from service.face.errors import FaceError, FaceUnfit, ImageError
from service.gallery.records import NewFace
from service.pipeline import FaceFound, Perception
from service.runtime.timing import Stages

FitFace = tuple[int, str, FaceFound]
"""Which image, the id of its new face, and the face."""


def admit(
    perception: Perception, image: bytes, stages: Stages, faces: FaceChoice, quality: QualityChoice
) -> ImageOutcome:
    """Look for the face of an image; what is wrong with it is the outcome."""
    try:
        face = choose(perception.look(image, stages, Seek(faces), 1), faces, quality)
    except (ImageError, FaceError) as error:
        return ImageOutcome(None, None, error)
    return ImageOutcome(new_id(), face, None)


def judge(
    embedder: Embedder, outcomes: Sequence[ImageOutcome], stages: Stages, quality: QualityChoice
) -> tuple[tuple[ImageOutcome, ...], dict[int, NDArray[np.float32]]]:
    """Refuse the faces that a model cannot recognise.

    Returns:
        The outcomes in their order, and the templates that told, (D,) by the image's place; none where the model
        cannot tell.
    """
    if embedder.cut is None:
        return tuple(outcomes), {}
    judged: list[ImageOutcome] = []
    templates: dict[int, NDArray[np.float32]] = {}
    for index, outcome in enumerate(outcomes):
        face = outcome.face
        if face is not None and outcome.error is None:
            results = embed(embedder, [face], stages)
            templates[index] = results.vectors[0]
            try:
                (face,) = recognise(embedder, [face], results, quality)
            except FaceUnfit as error:
                judged.append(ImageOutcome(None, None, error))
                continue
        judged.append(replace(outcome, face=face))
    return tuple(judged), templates


def fit_faces(outcomes: Sequence[ImageOutcome]) -> list[FitFace]:
    """Return the faces that may be enrolled."""
    return [(index, each.face_id, each.face) for index, each in enumerate(outcomes) if each.face_id and each.face]


def describe_faces(
    fit: Sequence[FitFace],
    images: Sequence[bytes],
    templates: Mapping[str, NDArray[np.float32]],
    keep_crops: bool,
) -> list[NewFace]:
    """Make what the gallery stores of N fit faces; `templates` are (N, D) by the digest of their model."""
    return [
        NewFace(
            id=face_id,
            templates={digest: vectors[row] for digest, vectors in templates.items()},
            quality={**measures(face.quality), "detection_score": face.detection.score},
            box=face.detection.box,
            landmarks=tuple((float(x), float(y)) for x, y in face.detection.landmarks),
            source_sha256=hashlib.sha256(images[index]).hexdigest(),
            crop=encode_png(face.crop) if keep_crops else None,
        )
        for row, (index, face_id, face) in enumerate(fit)
    ]
