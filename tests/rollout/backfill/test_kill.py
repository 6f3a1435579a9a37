"""A job that is killed in the middle goes on at the next start, to the same templates as one that was not."""

from __future__ import annotations

import shutil
import signal
from contextlib import closing
from pathlib import Path
from typing import Any

import httpx2 as httpx
import numpy as np
from numpy.typing import NDArray
from prometheus_client import CollectorRegistry

from service.bench.server import make_key
from service.database.encryption import Keyring
from service.gallery.embedded import open_embedded
from service.rollout.backfill.metrics import BackfillMetrics
from service.rollout.backfill.reembeddings import Reembeddings
from service.rollout.backfill.worker import Reembedder
from service.rollout.roles import Roles
from tests.api.server import serving
from tests.rollout.backfill.conftest import KEYRING, SLOW, SWIFT, Load, fill, hasten, stored_templates
from tests.waiting import await_that

PEOPLE = 30


def job_of(client: httpx.Client) -> dict[str, Any]:
    (job,) = client.get("/v1/reembeddings").json()["items"]
    return dict(job)


def test_killed_in_the_middle_it_ends_as_if_it_had_not_been(
    load: Load, crop: NDArray[np.uint8], zoo: Path, model_dirs: tuple[Path, ...], tmp_path: Path
) -> None:
    data, twin = tmp_path / "data", tmp_path / "twin"
    fill(data, load, crop, PEOPLE)
    key = make_key(data)
    shutil.copytree(data, twin)

    given = {"models": "teacher,stranger", "template_keys": KEYRING, "workers": "1"}
    with serving(data, (zoo, *model_dirs), **given) as server, server.client(key) as client:
        asked = {"model": "stranger", "collection": "visitors", "rate": SLOW}
        assert client.post("/v1/reembeddings", json=asked).status_code == 202
        await_that(lambda: job_of(client)["made"] >= 3)
        server.stop(signal.SIGKILL)
    with closing(open_embedded(data, keyring=Keyring.parse(KEYRING))) as gallery:
        (stranger,) = load("stranger").embedders
        half = stored_templates(gallery, stranger.digest)
        assert gallery.verify().sound
        hasten(gallery)
    assert 3 <= len(half) < PEOPLE, "it was killed in the middle"

    with serving(data, (zoo, *model_dirs), **given) as server, server.client(key) as client:
        await_that(lambda: job_of(client)["state"] != "running")
        ended = job_of(client)
    assert (ended["state"], ended["total"], ended["made"], ended["failed"]) == ("done", PEOPLE, PEOPLE, 0)
    with closing(open_embedded(data, keyring=Keyring.parse(KEYRING))) as gallery:
        interrupted = stored_templates(gallery, stranger.digest)
        assert gallery.verify().sound

    models = load("teacher", "stranger")
    with (
        closing(open_embedded(twin, keyring=Keyring.parse(KEYRING))) as gallery,
        closing(
            Reembedder(
                models, gallery.database, Keyring.parse(KEYRING), BackfillMetrics(CollectorRegistry()), lambda: False
            )
        ),
    ):
        desk = Reembeddings(models, gallery.database, Roles(models, gallery.database))
        job = desk.start("test", "stranger", "visitors", SWIFT)
        await_that(lambda: desk.job(job.id).state != "running")
        assert interrupted == stored_templates(gallery, stranger.digest)
    assert len(set(interrupted.values())) == PEOPLE
