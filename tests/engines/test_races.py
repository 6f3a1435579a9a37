"""Two who change the same person or the same face at one moment: one waits, and then sees what the other has done."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from datetime import UTC, datetime
from functools import partial
from typing import Any

import pytest
import sqlalchemy as sa

from service.database.encryption import Keyring
from service.database.schema import faces, new_id
from service.database.transaction import Transaction
from service.gallery.changes.reassignment import move_face
from service.gallery.changes.subjects import update_subject
from service.gallery.changes.template_update import add_templates
from service.gallery.gallery import Gallery
from service.gallery.records import NewFace, Receipt
from service.index.base import CandidateList
from service.index.changes import IndexChange
from service.index.pgvector import PgvectorIndex
from tests.engines.conftest import Places
from tests.gallery.vectors import people
from tests.waiting import await_that

pytestmark = pytest.mark.engines
A, B = "a" * 64, "b" * 64
VECTORS, OTHERS = people(4, 1, 32), people(4, 1, 24, seed=3)
WAITING = "SELECT count(*) FROM pg_stat_activity WHERE wait_event_type = 'Lock' AND datname = current_database()"


@pytest.fixture
def gallery(places: Places) -> Iterator[Gallery]:
    """Ann and Bo, of one face each: Ann's lacks a template of the second model."""
    made = places("pgvector")()
    made.create_collection("main")
    made.enroll("main", "ann", [NewFace("of ann", {A: VECTORS[0]})])
    made.enroll("main", "bo", [NewFace("of bo", {A: VECTORS[1], B: OTHERS[1]})])
    yield made
    made.close()


@contextmanager
def beside(
    gallery: Gallery, first: Callable[[Transaction[IndexChange]], object], then: Callable[[], Any]
) -> Iterator[Future[Any]]:
    """What comes of `then` where it began after `first`, and before that was committed."""
    assert isinstance(gallery.index, PgvectorIndex)

    def waiting() -> int:
        with gallery.database.engine.connect() as connection:
            return int(connection.scalar(sa.text(WAITING)) or 0)

    with ThreadPoolExecutor(1) as pool:
        with gallery.database.engine.connect() as connection, connection.begin():
            transaction: Transaction[IndexChange] = Transaction(connection, ())
            first(transaction)
            gallery.index.stage(connection, transaction.changes)
            second = pool.submit(then)
            await_that(lambda: second.done() or waiting() == 1)
        yield second


def to_bo(gallery: Gallery) -> Callable[[Transaction[IndexChange]], object]:
    return partial(move_face, keyring=Keyring.empty(), collection="main", face_id="of ann", subject="bo")


def with_another_template(gallery: Gallery) -> Callable[[Transaction[IndexChange]], object]:
    with gallery.database.engine.connect() as connection:
        row = connection.scalar(sa.select(faces.c.row).where(faces.c.id == "of ann"))
    assert row is not None
    return partial(add_templates, keyring=Keyring.empty(), digest=B, new_templates={int(row): OTHERS[0]})


def test_a_face_that_is_just_given_to_another_person_is_erased_all_the_same(gallery: Gallery) -> None:
    with beside(gallery, to_bo(gallery), lambda: gallery.delete_face("main", "of ann")) as second:
        assert second.result().faces == 1
    assert [face.id for face in gallery.faces("main", "bo").items] == ["of bo"]


def test_so_it_is_among_several(gallery: Gallery) -> None:
    with beside(gallery, to_bo(gallery), lambda: gallery.delete_faces("main", ["of ann", "of bo"])) as second:
        assert [face.subject for face, _ in second.result()] == ["bo", "bo"]
    assert gallery.verify().sound


def test_a_face_may_be_given_on_at_once(gallery: Gallery) -> None:
    move = partial(move_face, keyring=Keyring.empty(), collection="main", face_id="of ann", subject="cy")
    with beside(gallery, to_bo(gallery), lambda: gallery.change(move)) as second:
        assert second.result().origin == gallery.subject("main", "bo").id
    assert [face.id for face in gallery.faces("main", "cy").items] == ["of ann"]


@pytest.mark.parametrize(
    ("erase", "faces_gone", "templates_gone"),
    [
        (lambda gallery: gallery.delete_subject("main", "ann"), 1, 2),
        (lambda gallery: gallery.delete_subjects("main")[0], 2, 4),
        (lambda gallery: gallery.delete_collection("main"), 2, 4),
    ],
)
def test_a_template_that_is_just_made_is_erased_with_the_others_and_counted(
    gallery: Gallery, erase: Callable[[Gallery], Receipt], faces_gone: int, templates_gone: int
) -> None:
    with beside(gallery, with_another_template(gallery), lambda: erase(gallery)) as second:
        receipt = second.result()
    assert (receipt.faces, receipt.templates) == (faces_gone, templates_gone)
    assert gallery.verify().sound


def test_an_enrolment_leaves_what_it_does_not_say_as_another_has_just_set_it(gallery: Gallery) -> None:
    date = datetime(2100, 1, 1, tzinfo=UTC)
    change = partial(
        update_subject, collection="main", name="ann", new_name=None, metadata={"since": "now"}, expires_at=date
    )
    enrol = partial(gallery.enroll, "main", "ann", [NewFace(new_id(), {A: VECTORS[2]})])
    with beside(gallery, change, enrol) as second:
        told = second.result().subject
    kept = gallery.subject("main", "ann")
    assert (kept.metadata, kept.expires_at, kept.faces) == ({"since": "now"}, date, 2)
    assert (told.metadata, told.expires_at, told.faces) == (kept.metadata, kept.expires_at, kept.faces)


def test_a_search_beside_a_move_finds_the_other_person(gallery: Gallery, monkeypatch: pytest.MonkeyPatch) -> None:
    """The move is committed between the search of the index and the naming of what it found."""
    ask, moves = gallery.index.search, iter([to_bo(gallery)])

    def ask_beside_a_move(*args: Any) -> list[CandidateList]:
        results = ask(*args)
        for move in moves:
            gallery.database.change(move)
        return results

    monkeypatch.setattr(gallery.index, "search", ask_beside_a_move)
    (hit,) = gallery.search("main", A, VECTORS[:1], 1)[0]
    assert (hit.subject, hit.face_id) == ("bo", "of ann")
