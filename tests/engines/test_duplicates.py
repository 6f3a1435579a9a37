"""`duplicate=reject` where chance would decide: two at the same instant, and an index that lags as long as it likes."""

from __future__ import annotations

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest
import sqlalchemy as sa

from service.database.schema import faces, new_id, now, outbox
from service.gallery import errors, queries
from service.gallery.gallery import Gallery
from service.gallery.records import DuplicateCheck, DuplicatePolicy, NewFace
from service.index.milvus.index import MilvusIndex
from tests.engines.conftest import Places
from tests.gallery.vectors import people
from tests.waiting import await_that

pytestmark = pytest.mark.engines
A, B = "a" * 64, "b" * 64
VECTORS, OTHERS = people(20, 5, 32), people(20, 5, 24, seed=3)
REJECT = DuplicateCheck(DuplicatePolicy.REJECT, A, 0.45)
WAITING = "SELECT count(*) FROM pg_stat_activity WHERE wait_event_type = 'Lock' AND datname = current_database()"


def enrol(gallery: Gallery, name: str, at: int, face_id: str | None = None) -> bool:
    """Whether the person of `VECTORS[at]` got in."""
    try:
        gallery.enroll("main", name, [NewFace(face_id or new_id(), {A: VECTORS[at]})], duplicate=REJECT)
    except errors.DuplicateSubject:
        return False
    return True


@pytest.mark.parametrize("kind", ["pgvector", "milvus"])
def test_of_two_who_are_a_models_first_one_gets_in(places: Places, kind: str) -> None:
    """The first is held up between its check, which finds that there is no such model yet, and its insertion."""
    gallery = places(kind)()
    gallery.create_collection("main")
    gallery.enroll("main", "somebody", [NewFace(new_id(), {B: OTHERS[0]})])

    def waiting() -> int:
        with gallery.database.engine.connect() as connection:
            return int(connection.scalar(sa.text(WAITING)) or 0)

    with ThreadPoolExecutor(2) as pool, gallery.database.engine.connect() as other, other.begin() as undone:
        inside = queries.collection_row(other, "main")
        held = {"id": "held", "collection_row": inside, "subject_row": queries.subject_row(other, "main", "somebody")}
        rest = {"quality": {}, "box": [], "landmarks": [], "source_sha256": "", "created_at": now()}
        other.execute(sa.insert(faces).values(**held, **rest))
        first = pool.submit(enrol, gallery, "first", 0, "held")
        await_that(lambda: waiting() == 1)
        second = pool.submit(enrol, gallery, "second", 1)
        await_that(lambda: second.done() or waiting() == 2)
        undone.rollback()
        assert sorted([first.result(), second.result()]) == [False, True]
    assert len(gallery.search("main", A, VECTORS[:1], 5)[0]) == 1
    gallery.close()


@pytest.fixture
def lagging(places: Places, monkeypatch: pytest.MonkeyPatch) -> Iterator[tuple[Gallery, MilvusIndex]]:
    """A gallery whose Milvus is asked almost at once whether it shows what it took."""
    monkeypatch.setattr("service.index.milvus.relay.SHOWN_AFTER", 0.2)
    gallery = places("milvus")()
    gallery.create_collection("main")
    indexes = gallery.index
    assert isinstance(indexes, MilvusIndex)
    yield gallery, indexes
    gallery.close()


def noted(gallery: Gallery) -> list[Any]:
    with gallery.database.engine.connect() as connection:
        return list(connection.execute(sa.select(outbox)))


def test_what_milvus_does_not_show_is_found_however_long_that_takes(
    lagging: tuple[Gallery, MilvusIndex], monkeypatch: pytest.MonkeyPatch
) -> None:
    gallery, indexes = lagging
    client = indexes.copy.client
    reached, upserts = client.upsert, []

    def upsert(name: str, data: list[Any], **given: Any) -> Any:
        upserts.append(len(data))
        return reached(name, data, **given)

    with monkeypatch.context() as blind:
        blind.setattr(client, "search", lambda *_, data, **__: [[] for _ in data])
        blind.setattr(client, "query", lambda *_, **__: [])
        blind.setattr(client, "upsert", upsert)
        assert enrol(gallery, "Ann", 0)
        await_that(lambda: len(upserts) >= 3)  # taken, not shown, carried again
        assert not enrol(gallery, "Impostor", 1)
        assert [hit.subject for hit in gallery.search("main", A, VECTORS[:1], 5)[0]] == ["Ann"]
        assert len(noted(gallery)) == 1
    await_that(lambda: not noted(gallery))
    assert not enrol(gallery, "Impostor", 1)
    assert gallery.verify().problems == ()


def test_what_nobody_carries_to_milvus_is_found(lagging: tuple[Gallery, MilvusIndex]) -> None:
    gallery, indexes = lagging
    assert enrol(gallery, "Ann", 0)
    await_that(lambda: not noted(gallery))  # Milvus has its collection
    indexes.relay.close()
    assert enrol(gallery, "Bob", 10)
    assert not enrol(gallery, "Impostor", 11)
    gallery.delete_subject("main", "Ann")
    assert [hit.subject for hit in gallery.search("main", A, VECTORS[:1], 5)[0]] == ["Bob"]
    assert enrol(gallery, "Anna", 1)
    assert not enrol(gallery, "Impostor", 2)
    assert [entry.kind for entry in noted(gallery)] == ["add", "remove", "add"]
