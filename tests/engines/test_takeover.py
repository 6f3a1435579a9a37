"""Replicas on one PostgreSQL: one of them makes the templates of a job, and when it is killed another goes on."""

from __future__ import annotations

import signal
from contextlib import ExitStack
from pathlib import Path

import httpx2 as httpx
import numpy as np
import pytest
import sqlalchemy as sa
from numpy.typing import NDArray

from service.database.schema import new_id
from service.face.decoding.image import encode_png
from service.gallery.records import NewFace
from service.gallery.replicated import open_replicated
from tests.api.server import Server, serving
from tests.engines.postgres import PASSWORD, Postgres
from tests.rollout.backfill.conftest import Load, crop, hasten, load, stored_templates
from tests.rollout.conftest import zoo
from tests.waiting import await_that

__all__ = ["crop", "load", "zoo"]

pytestmark = pytest.mark.engines
PEOPLE = 40


def made_by(server: Server) -> int:
    """Templates that one replica made from crops."""
    text = httpx.get(f"{server.address}/metrics").text
    lines = [line for line in text.splitlines() if line.startswith("facet_templates_made_total{")]
    return int(sum(float(line.rpartition(" ")[2]) for line in lines))


def test_one_replica_works_on_a_job_and_another_goes_on_when_it_is_killed(
    postgres: Postgres, load: Load, crop: NDArray[np.uint8], zoo: Path, model_dirs: tuple[Path, ...], tmp_path: Path
) -> None:
    database = postgres.database()
    gallery = open_replicated(database)
    teacher = load("teacher").default
    gallery.create_collection("visitors", keep_crops=True)
    for number in range(PEOPLE):
        mine = (crop * (1 - number / (2 * PEOPLE))).astype(np.uint8)
        face = NewFace(new_id(), {teacher.digest: teacher.embed(mine[None])[0]}, crop=encode_png(mine))
        gallery.enroll("visitors", f"person-{number}", [face])
    given = {
        "database": f"postgresql://facet@127.0.0.1:{postgres.port}/{database.url.database}",
        "database_password": PASSWORD,
        "database_sslmode": "disable",
        "models": "teacher,stranger",
        "workers": "1",
    }
    with ExitStack() as stack:
        servers = {}
        for name in ("one", "two"):
            (tmp_path / name).mkdir()
            servers[name] = stack.enter_context(serving(tmp_path / name / "data", (zoo, *model_dirs), **given))
        (key,) = [server.key for server in servers.values() if server.key]
        with servers["two"].client(key) as client:
            asked = {"model": "stranger", "collection": "visitors", "rate": 2}
            job = client.post("/v1/reembeddings", json=asked).raise_for_status().json()["id"]
        await_that(lambda: sum(made_by(server) for server in servers.values()) >= 10)
        first, second = sorted(servers.values(), key=made_by, reverse=True)
        assert made_by(second) == 0, "one at a time"
        first.stop(signal.SIGKILL)
        await_that(lambda: made_by(second) > 0)
        hasten(gallery)
        with second.client(key) as client:
            await_that(lambda: client.get(f"/v1/reembeddings/{job}").json()["state"] == "done")
            ended = client.get(f"/v1/reembeddings/{job}").json()
        assert (ended["total"], ended["made"], ended["failed"]) == (PEOPLE, PEOPLE, 0)
        assert 10 <= PEOPLE - made_by(second) < PEOPLE
    (stranger,) = load("stranger").embedders
    assert len(stored_templates(gallery, stranger.digest)) == PEOPLE
    with gallery.database.engine.connect() as connection:
        assert connection.scalar(sa.text("SELECT count(*) FROM templates")) == 2 * PEOPLE
    gallery.close()
