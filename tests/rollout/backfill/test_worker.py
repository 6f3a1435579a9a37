"""The worker's thread: its rate, its rest while requests wait, crops that cannot be used, faces that go away."""

from __future__ import annotations

import time
from collections.abc import Callable
from contextlib import closing

import sqlalchemy as sa
from prometheus_client import CollectorRegistry

from service.database.encryption import Keyring
from service.database.schema import crops
from service.gallery.gallery import Gallery
from service.models import Models
from service.rollout.backfill.metrics import BackfillMetrics
from service.rollout.backfill.reembeddings import Reembeddings
from service.rollout.backfill.worker import Reembedder
from service.rollout.roles import Roles
from tests.rollout.backfill.conftest import KEYRING, PEOPLE, ended, stored_templates
from tests.waiting import await_that


def worker(models: Models, gallery: Gallery, busy: Callable[[], bool] = lambda: False) -> closing[Reembedder]:
    return closing(
        Reembedder(models, gallery.database, Keyring.parse(KEYRING), BackfillMetrics(CollectorRegistry()), busy)
    )


def test_no_more_faces_a_second_than_the_job_allows(models: Models, gallery: Gallery) -> None:
    desk = Reembeddings(models, gallery.database, Roles(models, gallery.database))
    with worker(models, gallery):
        begun = time.monotonic()
        assert ended(desk, desk.start("test", "stranger", None, 8.0)).made == PEOPLE
        # Two at a time, four times a second: the last two of twelve come after five waits.
        assert time.monotonic() - begun >= 5 * 2 / 8.0


def test_while_requests_wait_nothing_is_made(models: Models, gallery: Gallery) -> None:
    desk = Reembeddings(models, gallery.database, Roles(models, gallery.database))
    job = desk.start("test", "stranger", None, 1000.0)
    looks: list[bool] = []

    def busy() -> bool:
        looks.append(True)
        return True

    with worker(models, gallery, busy):
        await_that(lambda: len(looks) > 3)
    assert (desk.job(job.id).made, desk.job(job.id).state) == (0, "running")
    with worker(models, gallery):
        assert ended(desk, job).made == PEOPLE


def test_a_damaged_crop_is_counted_and_passed_over(models: Models, gallery: Gallery) -> None:
    def damage(connection: sa.Connection) -> None:
        first = connection.scalar(sa.select(sa.func.min(crops.c.face_row)))
        connection.execute(sa.update(crops).where(crops.c.face_row == first).values(data=b"\0" * 100))
        connection.execute(
            sa.update(crops).where(crops.c.face_row == first + 1).values(data=b"not a picture", key_id=None)
        )
        connection.execute(sa.update(crops).where(crops.c.face_row == first + 2).values(key_id="lost"))

    gallery.database.write(damage)
    desk = Reembeddings(models, gallery.database, Roles(models, gallery.database))
    with worker(models, gallery):
        done = ended(desk, desk.start("test", "stranger", None, 1000.0))
    assert (done.made, done.failed, done.total) == (PEOPLE - 3, 3, PEOPLE)
    assert len(stored_templates(gallery, models.embedder("stranger").digest)) == PEOPLE - 3


def test_people_erased_meanwhile_stay_erased(models: Models, gallery: Gallery) -> None:
    desk = Reembeddings(models, gallery.database, Roles(models, gallery.database))
    job = desk.start("test", "stranger", "visitors", 4.0)
    with worker(models, gallery):
        await_that(lambda: desk.job(job.id).made > 0)
        gallery.delete_collection("visitors")
        done = ended(desk, job)
    assert done.state == "done"
    assert stored_templates(gallery, models.embedder("stranger").digest) == {}
    assert gallery.verify().sound
