"""A job has one worker at a time; another goes on with it where that one stands still or leaves."""

from __future__ import annotations

import threading
from contextlib import closing
from datetime import timedelta

from prometheus_client import CollectorRegistry

from service.database.encryption import Keyring
from service.gallery.gallery import Gallery
from service.models import Models
from service.rollout.backfill.metrics import BackfillMetrics
from service.rollout.backfill.reembeddings import Reembeddings
from service.rollout.backfill.worker import Reembedder
from service.rollout.roles import Roles
from tests.rollout.backfill.conftest import KEYRING, PEOPLE, SLOW, ended, hasten, stored_templates
from tests.waiting import PATIENCE, await_that

FAST = 1000.0


class Replica:
    """A worker that counts the faces it has looked at, and stands still before the one of number `stuck`."""

    def __init__(self, models: Models, gallery: Gallery, lease: float, stuck: int | None = None) -> None:
        self.looked_at, self.stuck = 0, stuck
        self.standing = threading.Event()
        self.free = threading.Event()
        self.registry = CollectorRegistry()
        self.metrics = BackfillMetrics(self.registry)
        self.worker = Reembedder(
            models, gallery.database, Keyring.parse(KEYRING), self.metrics, self._busy, timedelta(seconds=lease)
        )

    def _busy(self) -> bool:
        if self.looked_at == self.stuck and not self.free.is_set():
            self.standing.set()
            return True
        self.looked_at += 1
        return False

    def made(self) -> float:
        labels = {"model": "stranger@1.0.0", "source": "crop"}
        return self.registry.get_sample_value("facet_templates_made_total", labels) or 0.0

    def close(self) -> None:
        self.free.set()
        self.worker.close()


def test_of_two_workers_one_works_on_a_job(models: Models, gallery: Gallery) -> None:
    desk = Reembeddings(models, gallery.database, Roles(models, gallery.database))
    with (
        closing(Replica(models, gallery, lease=30.0)) as first,
        closing(Replica(models, gallery, lease=30.0)) as second,
    ):
        job = desk.start("test", "stranger", None, 16.0)
        await_that(lambda: desk.job(job.id).made > 0)
        first.worker.wake(), second.worker.wake()
        done = ended(desk, job)
    assert (done.made, done.failed, done.holder) == (PEOPLE, 0, None)
    assert sorted((first.looked_at, second.looked_at)) == [0, PEOPLE]


def test_the_job_of_a_worker_that_stands_still_goes_on_elsewhere_and_what_it_brings_late_is_left(
    models: Models, gallery: Gallery
) -> None:
    desk = Reembeddings(models, gallery.database, Roles(models, gallery.database))
    job = desk.start("test", "stranger", None, 16.0)  # four at a time
    with closing(Replica(models, gallery, lease=1.0, stuck=6)) as first:
        assert first.standing.wait(PATIENCE)
        assert desk.job(job.id).made == 4
        with closing(Replica(models, gallery, lease=1.0)) as second:
            done = ended(desk, job)
            first.free.set()
            await_that(lambda: first.looked_at == 8)  # it ends what it had in hand
    assert (done.made, done.failed) == (PEOPLE, 0)
    assert (first.made(), second.made()) == (4, PEOPLE - 4)
    assert desk.job(job.id) == done
    assert len(stored_templates(gallery, models.embedder("stranger").digest)) == PEOPLE
    assert gallery.verify().sound


def test_a_worker_that_leaves_gives_its_job_free_at_once(models: Models, gallery: Gallery) -> None:
    desk = Reembeddings(models, gallery.database, Roles(models, gallery.database))
    job = desk.start("test", "stranger", None, SLOW)
    with closing(Replica(models, gallery, lease=3600.0)):
        await_that(lambda: desk.job(job.id).made > 0)
    left = desk.job(job.id)
    assert (left.state, left.holder) == ("running", None)
    assert 0 < left.made < PEOPLE
    hasten(gallery)
    with closing(Replica(models, gallery, lease=3600.0)) as second:
        assert ended(desk, job).made == PEOPLE
    assert second.looked_at == PEOPLE - left.made
