"""The models and photographs of the comparison's tests, and a collection of people with their crops."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path

import numpy as np
import pytest
import sqlalchemy as sa
from numpy.typing import NDArray

from service.database.encryption import Keyring
from service.database.schema import faces, new_id, reembeddings, templates
from service.database.schema import models as table_of_models
from service.database.template_seal import STORED, open_template
from service.face.decoding.image import encode_png
from service.face.registry import Registry
from service.gallery.embedded import open_embedded
from service.gallery.gallery import Gallery
from service.gallery.records import NewFace
from service.models import Models
from service.rollout.backfill.jobs import Job
from service.rollout.backfill.reembeddings import Reembeddings
from tests.rollout.conftest import dim_portrait, other_portrait, portrait, start, zoo
from tests.waiting import await_that

__all__ = ["dim_portrait", "other_portrait", "portrait", "start", "zoo"]

KEYRING = "k:" + "A" * 43 + "="
PEOPLE = 12
"""In `gallery`."""
SLOW, SWIFT = 1.0, 1000.0
"""Faces a second: a rate at which nobody has to hurry to see a job at work, and one to be done."""
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


@pytest.fixture
def models(load: Load) -> Models:
    """The teacher, who enrolled everybody, and a stranger to its space."""
    return load("teacher", "stranger")


@pytest.fixture
def gallery(load: Load, crop: NDArray[np.uint8], tmp_path: Path) -> Iterator[Gallery]:
    """Some people, with templates of the teacher and their crops."""
    fill(tmp_path / "data", load, crop, PEOPLE)
    with closing(open_embedded(tmp_path / "data", keyring=Keyring.parse(KEYRING))) as gallery:
        yield gallery


def ended(desk: Reembeddings, job: Job) -> Job:
    """The job, once it runs no more."""
    await_that(lambda: desk.job(job.id).state != "running")
    return desk.job(job.id)


def hasten(gallery: Gallery) -> None:
    """Let every job go on at the swift rate, once it is taken up again."""
    gallery.database.write(lambda connection: connection.execute(sa.update(reembeddings).values(rate=SWIFT)))


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
        sa.select(*STORED, faces.c.id)
        .join(faces, templates.c.face_row == faces.c.row)
        .join(table_of_models, templates.c.model_row == table_of_models.c.row)
        .where(table_of_models.c.digest == digest)
    )
    with gallery.database.engine.connect() as connection:
        return {found.id: open_template(Keyring.parse(KEYRING), found) for found in connection.execute(asked)}
