"""Tests with a Milvus of their own: two do not run beside each other on one machine."""

from __future__ import annotations

import logging
import time
import traceback
from collections.abc import Iterator
from contextlib import closing

import pytest

from service.database.errors import StorageUnavailable
from service.database.schema import new_id
from service.gallery.gallery import Gallery
from service.gallery.records import NewFace
from service.gallery.replicated import open_replicated
from service.gallery_factory import milvus_of
from service.index.milvus.client import MilvusCopy, Server
from service.settings import read_settings
from tests.engines.dying import ANN, DIGEST
from tests.engines.milvus import PASSWORD, Milvus
from tests.engines.postgres import Postgres
from tests.gallery.vectors import Matrix, people
from tests.waiting import PATIENCE, await_that

pytestmark = pytest.mark.engines


def found(gallery: Gallery, vector: Matrix) -> list[str]:
    return [hit.subject for hit in gallery.search("main", DIGEST, vector[None], 5)[0]]


def test_milvus_is_told_the_password_and_nobody_else(caplog: pytest.LogCaptureFixture) -> None:
    guarded = Milvus(guarded=True)
    try:
        guarded.start()
        named = {"milvus": guarded.address, "milvus_user": "root", "index": "milvus", "database": "postgresql://a@b/c"}
        right = milvus_of(read_settings(env_file=None, **named, milvus_password=PASSWORD))
        wrong = milvus_of(read_settings(env_file=None, **named, milvus_password="wr0ng-one"))
        assert right is not None
        assert wrong is not None
        with closing(MilvusCopy(right, "store")) as copy:
            copy.check()
            assert not copy.exists(1)
        with caplog.at_level(logging.DEBUG), pytest.raises(StorageUnavailable, match="Milvus cannot be used") as failed:
            MilvusCopy(wrong, "store").check()
        assert "wr0ng-one" not in "".join(traceback.format_exception(failed.value)) + caplog.text + repr(wrong)
    finally:
        guarded.remove()


@pytest.fixture
def mortal(monkeypatch: pytest.MonkeyPatch) -> Iterator[Milvus]:
    """A Milvus for one test."""
    server = Milvus()
    monkeypatch.setattr("service.index.milvus.relay.SHOWN_AFTER", 2.0)
    try:
        server.start()
        yield server
    finally:
        server.remove()


def await_answer(gallery: Gallery, seconds: float = PATIENCE) -> None:
    """Until searches are answered; what is refused before is refused with a reason."""
    end = time.monotonic() + seconds
    while True:
        try:
            gallery.check()
            found(gallery, ANN)
            return
        except StorageUnavailable:
            assert time.monotonic() < end
            time.sleep(0.5)


def test_milvus_dies_and_comes_back(postgres: Postgres, mortal: Milvus) -> None:
    with closing(open_replicated(postgres.database(), Server(mortal.address, seconds=5.0))) as gallery:
        gallery.create_collection("main")
        vectors = people(60, 1, 32, seed=4)

        def enrol(numbers: range) -> None:
            for number in numbers:
                gallery.enroll("main", f"s{number}", [NewFace(new_id(), {DIGEST: vectors[number]})])

        def check(living: set[int], erased: set[int]) -> None:
            for number in sorted(living | erased):
                assert (f"s{number}" in found(gallery, vectors[number])) == (number in living), number

        enrol(range(30))
        gallery.compact()  # Milvus alone answers for these
        enrol(range(30, 40))
        gallery.delete_subject("main", "s0")
        mortal.kill()
        enrol(range(40, 50))
        for number in (1, 35, 45):
            gallery.delete_subject("main", f"s{number}")
        with pytest.raises(StorageUnavailable, match="by itself"):
            found(gallery, ANN)
        with pytest.raises(StorageUnavailable):
            gallery.check()
        await_that(lambda: gallery.index.backlog.seconds > 2)
        assert gallery.index.backlog.changes >= 13
        mortal.start()
        await_answer(gallery)
        erased = {0, 1, 35, 45}
        living = set(range(50)) - erased
        check(living, erased)
        gallery.compact()
        check(living, erased)
        assert gallery.index.backlog.changes == 0
        assert gallery.verify().problems == ()
