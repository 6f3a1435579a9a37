"""The models and photographs of the comparison's tests, and a collection of people with their crops."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import closing
from pathlib import Path

import numpy as np
import pytest
import sqlalchemy as sa
from numpy.typing import NDArray

from service.face.image import encode_png
from service.face.registry import Registry
from service.gallery import Gallery
from service.gallery.embedded import open_embedded
from service.gallery.records import NewFace, new_id
from service.gallery.schema import faces, models, templates
from service.gallery.sealing import Keyring, template_place
from service.models import Models
from tests.comparison.conftest import dim_portrait, other_portrait, portrait, start, zoo

__all__ = ["dim_portrait", "other_portrait", "portrait", "start", "zoo"]

KEYRING = "k:" + "A" * 43 + "="
Load = Callable[..., Models]


@pytest.fixture(scope="session")
def load(zoo: Path, model_dirs: tuple[Path, ...]) -> Load:
    """Loads embedders of the zoo by name."""
    registry = Registry.scan([zoo, *model_dirs])
    return lambda *names: Models.load(registry, None, names)


@pytest.fixture(scope="session")
def crop(load: Load, astronaut: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """The astronaut's face, cut out: RGB (128, 128, 3)."""
    from service.face.align import align  # noqa: PLC0415 - beside what it is for

    (face,) = load("teacher").detector.detect(astronaut)
    return align(astronaut, face.landmarks)


def fill(data: Path, load: Load, crop: NDArray[np.uint8], count: int, keep_crops: bool = True) -> None:
    """Enrol people in `visitors`, sealed, with templates of the teacher only: one face, dimmed differently for each."""
    teacher = load("teacher").default
    with closing(open_embedded(data, keyring=Keyring.parse(KEYRING))) as gallery:
        gallery.create_collection("visitors", keep_crops=keep_crops)
        for number in range(count):
            mine = (crop * (1 - number / (2 * count))).astype(np.uint8)
            face = NewFace(new_id(), {teacher.digest: teacher.embed(mine[None])[0]}, crop=encode_png(mine))
            gallery.enroll("visitors", f"person-{number}", [face])


def stored_templates(gallery: Gallery, digest: str) -> dict[str, bytes]:
    """A model's templates in the record, opened, by the ids of their faces."""
    asked = (
        sa.select(templates, faces.c.id)
        .join(faces, templates.c.face_row == faces.c.row)
        .join(models, templates.c.model_row == models.c.row)
        .where(models.c.digest == digest)
    )
    with gallery.engine.connect() as connection:
        return {
            found.id: gallery.keyring.open(found.vector, found.key_id, template_place(found.face_row, found.model_row))
            for found in connection.execute(asked)
        }
