"""Whoever carries to Milvus dies at the worst moment, or Milvus is emptied: nothing is lost, nothing comes back."""

from __future__ import annotations

import pickle
import subprocess
import sys
from contextlib import closing, suppress

import numpy as np
import pytest

from service.database.errors import StorageUnavailable
from service.database.schema import new_id
from service.gallery.gallery import Gallery
from service.gallery.records import NewFace
from service.gallery.replicated import open_replicated
from service.index.milvus.client import Server
from service.index.milvus.index import MilvusIndex
from tests.conftest import ROOT
from tests.engines.dying import ANN, BOB, DIGEST
from tests.engines.milvus import Milvus
from tests.engines.postgres import Postgres
from tests.waiting import PATIENCE, await_that

pytestmark = pytest.mark.engines


@pytest.fixture(autouse=True)
def impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    """Milvus is asked soon whether it shows what it took."""
    monkeypatch.setattr("service.index.milvus.relay.SHOWN_AFTER", 2.0)


def found(gallery: Gallery, vector: np.ndarray, k: int = 5) -> list[str]:
    return [hit.subject for hit in gallery.search("main", DIGEST, vector[None], k)[0]]


@pytest.mark.parametrize("when", ["before", "after"])
@pytest.mark.parametrize("call", ["upsert", "delete"])
def test_whoever_carries_dies_and_the_next_goes_on(postgres: Postgres, milvus: Milvus, call: str, when: str) -> None:
    database = postgres.database()
    with closing(open_replicated(database, Server(milvus.address))) as gallery:
        gallery.create_collection("main")
        gallery.enroll("main", "Bob", [NewFace(new_id(), {DIGEST: BOB})])
        gallery.compact()
    died = subprocess.run(
        [sys.executable, "-m", "tests.engines.dying", pickle.dumps(database).hex(), milvus.address, call, when],
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=PATIENCE,
        check=False,
    )
    assert died.returncode == -9, died.stderr
    with closing(open_replicated(database, Server(milvus.address))) as gallery:
        expected = ["Bob", "Ann"] if call == "upsert" else []
        for _ in range(2):  # first perhaps from the outbox, then certainly from Milvus
            assert sorted(found(gallery, ANN)) == sorted(expected)
            gallery.compact()
        assert gallery.index.backlog.changes == 0
        assert gallery.verify().problems == ()


def test_a_lost_collection_does_not_answer_from_a_part(postgres: Postgres, milvus: Milvus) -> None:
    with closing(open_replicated(postgres.database(), Server(milvus.address))) as gallery:
        gallery.create_collection("main")
        gallery.enroll("main", "Bob", [NewFace(new_id(), {DIGEST: BOB})])
        gallery.compact()
        indexes = gallery.index
        assert isinstance(indexes, MilvusIndex)
        indexes.copy.client.drop_collection(indexes.copy.name(1))
        indexes.copy._loaded.clear()  # as in a replica that has not yet searched
        with pytest.raises(StorageUnavailable, match="not loaded"):
            found(gallery, BOB)
        gallery.enroll("main", "Ann", [NewFace(new_id(), {DIGEST: ANN})])

        def is_carried() -> bool:
            with suppress(StorageUnavailable):
                assert sorted(found(gallery, BOB)) == ["Ann", "Bob"]
            return not gallery.index.backlog.changes

        await_that(is_carried)
        assert sorted(found(gallery, BOB)) == ["Ann", "Bob"]
        assert gallery.verify().problems == ()
