"""Faces moved to another person, people made one, collections changed, people who expire."""

from __future__ import annotations

import time
from base64 import b64encode
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from datetime import timedelta
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import sqlalchemy as sa
from numpy.typing import NDArray

from service.database.audit_log import AuditQuery, read_audit
from service.database.encryption import Keyring
from service.database.errors import StorageBusy, TemplateDamaged
from service.database.schema import new_id, now, templates
from service.gallery import errors
from service.gallery.archive.exports import export
from service.gallery.archive.imports import Rule, restore
from service.gallery.changes import collections, reassignment, subjects
from service.gallery.changes.collections import Members, members_of
from service.gallery.changes.reassignment import MovedFace
from service.gallery.comparison import AGAIN
from service.gallery.embedded import open_embedded
from service.gallery.gallery import Gallery
from service.gallery.maintenance.expiry import Expiry
from service.gallery.records import Hit, Idempotency, Merger, NewFace, Receipt
from service.index.base import CandidateList, Matrix, Rows, Vector
from service.index.embedded.tiered import TieredIndex
from service.index.scoring import Scoring
from tests.gallery.vectors import people

A, B = "a" * 64, "b" * 64
VECTORS = people(8, 3, 32)
KEYRING = Keyring.empty()


def face(vector: Vector, id_: str | None = None) -> NewFace:
    return NewFace(id_ or new_id(), {A: vector, B: vector[::-1].copy()}, source_sha256="ab" * 32, crop=b"crop")


@pytest.fixture
def gallery(tmp_path: Path) -> Iterator[Gallery]:
    made = open_embedded(tmp_path / "data")
    made.create_collection("main", keep_crops=True)
    yield made
    made.close()


def move(gallery: Gallery, face_id: str, subject: str) -> MovedFace:
    return gallery.database.change(
        partial(reassignment.move_face, keyring=KEYRING, collection="main", face_id=face_id, subject=subject)
    )


def merge(gallery: Gallery, subject: str, other: str, once: Idempotency | None = None) -> Merger:
    work = partial(reassignment.merge_subjects, keyring=KEYRING, collection="main", subject=subject, other=other)
    return gallery.database.change(partial(work, idempotency=once, until=now() + timedelta(hours=1)))


def best(gallery: Gallery, vector: Vector, digest: str = A) -> tuple[str, str]:
    (hit,) = gallery.search("main", digest, vector[None], 1)[0]
    return hit.subject, hit.face_id


def no_offsets(stored: Matrix) -> NDArray[np.float32]:
    return np.zeros(len(stored), np.float32)


NORMALISED = Scoring(np.zeros(1, np.float32), no_offsets)


def enrol_mistaken(gallery: Gallery) -> None:
    """Ann and Bea, of one face each; Ann's will turn out to be Bea's."""
    gallery.enroll("main", "ann", [face(VECTORS[0], "wrong")])
    gallery.enroll("main", "bea", [face(VECTORS[4])])


# ---- faces


@pytest.mark.parametrize("scoring", [None, NORMALISED])
@pytest.mark.parametrize("first", [True, False])
def test_a_search_beside_a_move_finds_the_one_or_the_other(
    first: bool, scoring: Scoring | None, gallery: Gallery, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The move comes between the database and the index, or between the index and the database."""
    enrol_mistaken(gallery)
    ask, moves = gallery.index.search, iter([lambda: move(gallery, "wrong", "bea")])

    def ask_beside_a_move(*args: Any) -> list[CandidateList]:
        if first:
            next(moves, lambda: None)()
        results = ask(*args)
        next(moves, lambda: None)()
        return results

    monkeypatch.setattr(gallery.index, "search", ask_beside_a_move)
    (hit,) = gallery.search("main", A, VECTORS[:1], 1, scoring)[0]
    assert (hit.subject, hit.face_id) == ("bea" if first else "ann", "wrong")
    assert hit.score == pytest.approx(1, abs=1e-3)


@pytest.mark.parametrize("scoring", [None, NORMALISED])
def test_a_search_while_the_index_follows_a_move_finds_the_other_person(
    scoring: Scoring | None, gallery: Gallery, monkeypatch: pytest.MonkeyPatch
) -> None:
    enrol_mistaken(gallery)
    remove, found = TieredIndex.remove, []

    def search_and_remove(index: TieredIndex, rows: Rows) -> int:
        found.append(gallery.search("main", A, VECTORS[:1], 1, scoring)[0])
        return remove(index, rows)

    monkeypatch.setattr(TieredIndex, "remove", search_and_remove)
    move(gallery, "wrong", "bea")
    assert [[(hit.subject, hit.face_id) for hit in hits] for hits in found] == [[("bea", "wrong")]] * len(found)
    assert found


@pytest.mark.parametrize("scoring", [None, NORMALISED])
def test_a_search_waits_for_an_index_that_is_behind(
    scoring: Scoring | None, gallery: Gallery, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The move is committed, and what it adds comes to the index a while after."""
    enrol_mistaken(gallery)
    add, search = TieredIndex.add, partial(gallery.search, "main", A, VECTORS[:1], 1, scoring)
    with ThreadPoolExecutor(1) as pool:
        found: list[Future[list[list[Hit]]]] = []

        def add_late(self: TieredIndex, *args: Any) -> None:
            found.append(pool.submit(search))
            time.sleep(0.1)
            add(self, *args)

        monkeypatch.setattr(TieredIndex, "add", add_late)
        move(gallery, "wrong", "bea")
        assert {hit.subject for each in found for hit in each.result()[0]} == {"bea"}


def test_a_template_that_an_index_alone_has_is_looked_for_only_so_often(
    gallery: Gallery, monkeypatch: pytest.MonkeyPatch
) -> None:
    gallery.enroll("main", "ann", [face(VECTORS[0])])
    ask, asked = gallery.index.search, []

    def ask_for_more(*args: Any) -> list[CandidateList]:
        asked.append(args)
        (found,) = ask(*args)
        return [CandidateList(np.append(found.rows, 999), np.append(found.groups, 999), np.append(found.scores, 0.5))]

    monkeypatch.setattr(gallery.index, "search", ask_for_more)
    assert [hit.subject for hit in gallery.search("main", A, VECTORS[:1], 3)[0]] == ["ann"]
    assert len(asked) == 1 + AGAIN


def test_a_moved_face_is_found_as_the_other_person(gallery: Gallery) -> None:
    gallery.enroll("main", "ann", [face(VECTORS[0]), face(VECTORS[3], "wrong")])
    gallery.enroll("main", "bea", [face(VECTORS[4])])
    result = move(gallery, "wrong", "bea")
    assert result.moved
    assert (result.face.subject, set(result.face.models)) == ("bea", {A, B})
    assert best(gallery, VECTORS[3]) == ("bea", "wrong")
    assert best(gallery, VECTORS[3][::-1].copy(), B) == ("bea", "wrong")
    assert gallery.compare("main", "bea", A, VECTORS[3]).face_id == "wrong"
    assert [gallery.subject("main", name).faces for name in ("ann", "bea")] == [1, 2]
    assert gallery.crop("main", "wrong") == b"crop"
    assert gallery.verify().problems == ()
    assert not move(gallery, "wrong", "bea").moved
    assert gallery.counts.templates("main", A) == 3


def test_a_face_may_move_to_somebody_new(gallery: Gallery) -> None:
    gallery.enroll("main", "ann", [face(VECTORS[0]), face(VECTORS[3], "wrong")])
    assert move(gallery, "wrong", "bea").face.subject == "bea"
    assert gallery.counts.people("main", [A]) == 2
    with pytest.raises(errors.FaceNotFound):
        move(gallery, "nowhere", "ann")
    with pytest.raises(errors.NameInvalid):
        move(gallery, "wrong", " ")


def test_what_was_kept_of_the_request_goes_with_a_moved_face(gallery: Gallery) -> None:
    once = Idempotency("key:1", "k", "f")
    gallery.enroll("main", "ann", [face(VECTORS[0], "one")], idempotency=once)
    move(gallery, "one", "bea")
    with pytest.raises(errors.EnrolmentErased):
        gallery.replay(once)


def test_a_damaged_template_is_given_to_nobody(gallery: Gallery) -> None:
    gallery.enroll("main", "ann", [face(VECTORS[0], "one")])
    gallery.database.write(lambda c: c.execute(sa.update(templates).values(checksum=b"\0" * 16)))
    with pytest.raises(TemplateDamaged):
        move(gallery, "one", "bea")
    assert [each.name for each in gallery.subjects("main").items] == ["ann"]
    assert gallery.face("main", "one").subject == "ann"


# ---- people


def test_two_people_become_one(gallery: Gallery) -> None:
    gallery.enroll("main", "ann", [face(VECTORS[0])], metadata={"badge": 1})
    gallery.enroll("main", "anne", [face(VECTORS[1]), face(VECTORS[2], "third")], metadata={"badge": 2})
    other = gallery.subject("main", "anne").id
    merger = merge(gallery, "ann", "anne")
    assert (merger.subject.name, merger.subject.metadata, merger.subject.faces) == ("ann", {"badge": 1}, 3)
    assert (merger.merged, merger.faces, merger.replayed) == (other, 2, False)
    assert best(gallery, VECTORS[2]) == ("ann", "third")
    with pytest.raises(errors.SubjectNotFound):
        gallery.subject("main", "anne")
    assert gallery.counts.people("main", [A]) == 1
    assert gallery.verify().problems == ()


def test_a_merger_that_fails_leaves_both_as_they_were(gallery: Gallery) -> None:
    gallery.enroll("main", "ann", [face(VECTORS[0])])
    gallery.enroll("main", "bea", [face(VECTORS[3]), face(VECTORS[4], "last")])
    row = gallery.database.read(lambda c: c.scalar(sa.select(sa.func.max(templates.c.row))))
    spoil = sa.update(templates).where(templates.c.row == row).values(checksum=b"\0" * 16)
    gallery.database.write(lambda c: c.execute(spoil))
    with pytest.raises(TemplateDamaged):
        merge(gallery, "ann", "bea")
    assert [gallery.subject("main", name).faces for name in ("ann", "bea")] == [1, 2]
    assert best(gallery, VECTORS[3])[0] == "bea"
    with pytest.raises(errors.SamePerson):
        merge(gallery, "ann", "ann")
    with pytest.raises(errors.SubjectNotFound):
        merge(gallery, "ann", "nobody")


def test_a_repeated_merger_gets_its_first_answer(gallery: Gallery) -> None:
    gallery.enroll("main", "ann", [face(VECTORS[0])])
    gallery.enroll("main", "bea", [face(VECTORS[3])])
    once = Idempotency("key:1", "k", "f", "request-1")
    first = merge(gallery, "ann", "bea", once)
    gallery.enroll("main", "bea", [face(VECTORS[6])])  # somebody else of that name
    again = merge(gallery, "ann", "bea", once)
    assert again.replayed
    assert (again.subject, again.merged, again.request_id) == (first.subject, first.merged, "request-1")
    assert gallery.subject("main", "bea").faces == 1
    with pytest.raises(errors.IdempotencyConflict):
        merge(gallery, "ann", "bea", Idempotency("key:1", "k", "another"))
    gallery.delete_subject("main", "ann")
    with pytest.raises(errors.EnrolmentErased):
        merge(gallery, "ann", "bea", once)


def test_what_was_kept_of_the_other_goes_when_the_merged_person_is_erased(gallery: Gallery) -> None:
    once = Idempotency("key:1", "k", "f")
    gallery.enroll("main", "ann", [face(VECTORS[0])])
    gallery.enroll("main", "bea", [face(VECTORS[3])], idempotency=once)
    merge(gallery, "ann", "bea")
    gallery.delete_subject("main", "ann")
    with pytest.raises(errors.EnrolmentErased):
        gallery.replay(once)


def test_sealed_templates_change_hands_too(tmp_path: Path) -> None:
    keyring = Keyring.parse(f"k1:{b64encode(bytes(32)).decode()}")
    gallery = open_embedded(tmp_path / "sealed", keyring=keyring)
    gallery.create_collection("main")
    gallery.enroll("main", "ann", [face(VECTORS[0])])
    gallery.enroll("main", "bea", [face(VECTORS[3])])
    work = partial(reassignment.merge_subjects, keyring=keyring, collection="main", subject="ann", other="bea")
    gallery.database.change(work)
    gallery.close()
    again = open_embedded(tmp_path / "sealed", keyring=keyring)
    assert best(again, VECTORS[3])[0] == "ann"
    again.close()


# ---- collections


def test_a_collection_is_changed_and_counted(gallery: Gallery) -> None:
    gallery.enroll("main", "ann", [face(VECTORS[0]), face(VECTORS[1])])
    gallery.create_collection("empty")
    change = partial(collections.update_collection, name="main", values={"keep_crops": False})
    assert not gallery.database.change(change).keep_crops
    values = {"quality": "report", "metadata": {"site": 1}}
    changed = gallery.database.change(partial(collections.update_collection, name="main", values=values))
    assert (changed.keep_crops, changed.quality, changed.metadata) == (False, "report", {"site": 1})
    counts = gallery.database.read(partial(members_of, names=["main", "empty"]))
    assert counts == {"main": Members(1, 2), "empty": Members(0, 0)}
    with pytest.raises(errors.CollectionNotFound):
        gallery.database.change(partial(collections.update_collection, name="none", values={}))


# ---- expiry


def test_whose_date_has_come_is_erased_with_a_receipt_also_after_a_restart(tmp_path: Path) -> None:
    gallery = open_embedded(tmp_path / "data")
    gallery.create_collection("main")
    past, future = now() - timedelta(days=1), now() + timedelta(days=1)
    ann = gallery.enroll("main", "ann", [face(VECTORS[0])], expires_at=past).subject.id
    gallery.enroll("main", "bea", [face(VECTORS[3])], expires_at=future)
    gallery.enroll("main", "cy", [face(VECTORS[6])], expires_at=future)
    gallery.enroll("main", "cy", [face(VECTORS[7])])
    assert gallery.subject("main", "cy").expires_at == future
    assert gallery.update_subject("main", "cy", expires_at=None).expires_at is None
    assert gallery.update_subject("main", "bea", metadata={"a": 1}).expires_at == future
    gallery.close()
    gallery = open_embedded(tmp_path / "data")
    told: list[tuple[Receipt, str]] = []
    expiry = Expiry(gallery, lambda receipt, collection: told.append((receipt, collection)))
    assert (expiry(), expiry()) == (1, 0)
    assert [(receipt.kind, receipt.target, receipt.faces, place) for receipt, place in told] == [
        ("subject", ann, 1, "main")
    ]
    assert gallery.receipts().items == (told[0][0],)
    assert [each.name for each in gallery.subjects("main").items] == ["bea", "cy"]
    gallery.close()


def test_dates_and_gates_move_with_an_archive(gallery: Gallery, tmp_path: Path) -> None:
    future = now() + timedelta(days=1)
    gallery.create_collection("gated", quality="report")
    gallery.enroll("gated", "ann", [face(VECTORS[0])], expires_at=future)
    export(gallery.database.engine, tmp_path / "a.facet")
    other = open_embedded(tmp_path / "other")
    restore(other.database, tmp_path / "a.facet", Rule.STOP, keyring=KEYRING)
    assert other.subject("gated", "ann").expires_at == future
    assert other.collection("gated").quality == "report"
    other.close()


def test_a_face_of_somebody_expired_is_given_to_nobody(gallery: Gallery) -> None:
    gallery.enroll("main", "ann", [face(VECTORS[0], "one")], expires_at=now() - timedelta(seconds=1))
    with pytest.raises(errors.FaceNotFound):
        move(gallery, "one", "bea")
    Expiry(gallery, lambda *_: None)()
    assert gallery.counts.templates("main", A) == 0


def test_a_person_is_renamed_to_the_name_of_somebody_expired(gallery: Gallery) -> None:
    gallery.enroll("main", "ann", [face(VECTORS[0], "one")], expires_at=now() - timedelta(seconds=1))
    gallery.enroll("main", "bea", [face(VECTORS[4], "two")])
    renamed = gallery.update_subject("main", "bea", "ann")
    assert (renamed.name, [each.id for each in gallery.faces("main", "ann").items]) == ("ann", ["two"])
    assert [receipt.kind for receipt in gallery.receipts().items] == ["subject"]
    assert gallery.verify().problems == ()


def test_the_entry_of_an_expiry_is_written_with_it(gallery: Gallery) -> None:
    gallery.enroll("main", "ann", [face(VECTORS[0])], expires_at=now() - timedelta(seconds=1))

    def fail(*_: object) -> None:
        raise StorageBusy

    with pytest.raises(StorageBusy):
        Expiry(gallery, fail)()
    (receipt,) = gallery.receipts().items
    (entry,) = read_audit(gallery.database.engine, AuditQuery(principal="expiry")).items
    assert (entry.action, entry.outcome, entry.target) == ("delete_subject", "done", receipt.target)


def test_an_expiry_that_is_a_side_effect_is_told_once(gallery: Gallery) -> None:
    told: list[tuple[Receipt, str]] = []
    gallery.note_expiries(lambda receipt, collection: told.append((receipt, collection)))
    names = ("by enrolment", "by a new record", "by renaming", "by moving")
    for name in names:
        gallery.enroll("main", name, [face(VECTORS[0])], expires_at=now() - timedelta(seconds=1))
    gallery.enroll("main", names[0], [face(VECTORS[4], "moved")])
    gallery.change(partial(subjects.create_subject, collection="main", name=names[1]))
    gallery.update_subject("main", names[1], names[2])
    work = partial(reassignment.move_face, keyring=KEYRING, collection="main", face_id="moved", subject=names[3])
    gallery.change(work)
    assert told == [(receipt, "main") for receipt in gallery.receipts().items]
    assert len(told) == len(names)
    assert Expiry(gallery, lambda *_: None)() == 0
