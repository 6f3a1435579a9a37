"""A job that is killed in the middle goes on at the next start, to the same templates as one that was not."""

from __future__ import annotations

import shutil
import signal
import time
from collections.abc import Callable
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
from tests.rollout.backfill.conftest import KEYRING, Load, fill, stored_templates

PEOPLE = 30
PATIENCE = 120.0


def until(read: Callable[[], dict[str, Any]], state: Callable[[dict[str, Any]], bool]) -> dict[str, Any]:
    deadline = time.monotonic() + PATIENCE
    while not state(found := read()):
        assert time.monotonic() < deadline, found
        time.sleep(0.02)
    return found


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
        asked = {"model": "stranger", "collection": "visitors", "rate": 10}
        assert client.post("/v1/reembeddings", json=asked).status_code == 202
        until(lambda: job_of(client), lambda job: job["made"] >= 8)
        server.stop(signal.SIGKILL)
    with closing(open_embedded(data, keyring=Keyring.parse(KEYRING))) as gallery:
        (stranger,) = load("stranger").embedders
        half = stored_templates(gallery, stranger.digest)
        assert gallery.verify().sound
    assert 8 <= len(half) < PEOPLE, "it was killed in the middle"

    with serving(data, (zoo, *model_dirs), **given) as server, server.client(key) as client:
        ended = until(lambda: job_of(client), lambda job: job["state"] != "running")
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
        job = desk.start("test", "stranger", "visitors", 1000)
        deadline = time.monotonic() + PATIENCE
        while desk.job(job.id).state == "running" and time.monotonic() < deadline:
            time.sleep(0.02)
        assert interrupted == stored_templates(gallery, stranger.digest)
    assert len(set(interrupted.values())) == PEOPLE
