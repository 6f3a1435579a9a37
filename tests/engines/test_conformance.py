"""What every kind of gallery must do, on real servers: each test runs against all of them."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from datetime import timedelta
from functools import partial

import numpy as np
import pytest

from service.database.audit_log import AuditEntry, AuditLog, AuditQuery, read_audit
from service.database.encryption import Keyring
from service.database.errors import CursorInvalid
from service.database.schema import new_id, now
from service.gallery import errors
from service.gallery.changes import reassignment
from service.gallery.gallery import Gallery
from service.gallery.maintenance.expiry import Expiry
from service.gallery.records import DuplicateCheck, DuplicatePolicy, Enrolment, Idempotency, NewFace, Receipt
from service.index.base import Vector
from service.index.errors import VectorInvalid
from tests.engines.conftest import KINDS, Open, Places
from tests.gallery.rivals import admitted
from tests.gallery.vectors import exact, hard_probes, people, unit
from tests.waiting import PATIENCE

pytestmark = pytest.mark.engines
A, B = "a" * 64, "b" * 64
VECTORS, OTHERS = people(60, 5, 32), people(60, 5, 24, seed=3)
REJECT = DuplicateCheck(DuplicatePolicy.REJECT, A, 0.45)


@pytest.fixture(params=KINDS)
def opening(request: pytest.FixtureRequest, places: Places) -> Open:
    """Opens the gallery of this test; opened again, it is the same one."""
    return places(request.param)


@pytest.fixture
def gallery(opening: Open) -> Iterator[Gallery]:
    made = opening()
    made.create_collection("main")
    yield made
    made.close()


def face(vector: Vector, digest: str = A, id_: str | None = None) -> NewFace:
    return NewFace(id_ or new_id(), {digest: vector}, {"sharpness": 0.5}, (1, 2, 3, 4), ((0.5, 1),) * 5, "ab" * 32)


def names(gallery: Gallery, vector: Vector, k: int = 5) -> list[str]:
    return [hit.subject for hit in gallery.search("main", A, vector[None], k)[0]]


# ---- freshness


def test_what_was_enrolled_is_found_at_once(gallery: Gallery) -> None:
    for number in range(20):
        one = face(VECTORS[5 * number])
        gallery.enroll("main", f"s{number}", [one])
        (hit,) = gallery.search("main", A, VECTORS[5 * number][None], 1)[0]
        assert (hit.subject, hit.face_id) == (f"s{number}", one.id)
        assert hit.score == pytest.approx(1.0, abs=2e-3)


def test_what_was_deleted_is_never_found_again(gallery: Gallery) -> None:
    for number in range(20):
        gallery.enroll("main", f"s{number}", [face(VECTORS[5 * number]), face(VECTORS[5 * number + 1])])
    for number in range(20):
        kept, gone = gallery.faces("main", f"s{number}").items
        gallery.delete_face("main", gone.id)
        assert gone.id not in {hit.face_id for hit in gallery.search("main", A, VECTORS[5 * number + 1][None], 20)[0]}
        gallery.delete_subject("main", f"s{number}")
        assert f"s{number}" not in names(gallery, VECTORS[5 * number], 20)
        with pytest.raises(errors.FaceNotFound):
            gallery.face("main", kept.id)
    assert gallery.search("main", A, VECTORS[:1], 5) == [[]]
    assert len(gallery.receipts().items) == 40


def test_a_face_that_changes_hands_is_found_as_the_other_person(gallery: Gallery) -> None:
    wrong = face(VECTORS[5])
    gallery.enroll("main", "ann", [face(VECTORS[0]), wrong])
    gallery.enroll("main", "bea", [face(VECTORS[6])])
    move = partial(reassignment.move_face, keyring=Keyring.empty(), collection="main", face_id=wrong.id)
    gallery.database.change(partial(move, subject="bea"))
    (hit,) = gallery.search("main", A, VECTORS[5][None], 1)[0]
    assert (hit.subject, hit.face_id) == ("bea", wrong.id)
    gallery.database.change(partial(move, subject="cy"))
    assert names(gallery, VECTORS[5], 1) == ["cy"]
    assert gallery.counts.people("main", [A]) == 3
    assert gallery.verify().problems == ()


def test_two_people_become_one_once_however_often_it_is_asked_at_the_same_time(gallery: Gallery) -> None:
    gallery.enroll("main", "ann", [face(VECTORS[0])])
    gallery.enroll("main", "bea", [face(VECTORS[5]), face(VECTORS[6])])
    once, until = Idempotency("key:1", "merge", "f"), now() + timedelta(hours=1)
    work = partial(reassignment.merge_subjects, keyring=Keyring.empty(), collection="main", subject="ann", other="bea")
    merge = partial(work, idempotency=once, until=until)
    with ThreadPoolExecutor(8) as pool:
        mergers = list(pool.map(lambda _: gallery.database.change(merge), range(8)))
    assert sorted(merger.replayed for merger in mergers) == [False] + [True] * 7
    assert {merger.faces for merger in mergers} == {2}
    assert gallery.subject("main", "ann").faces == 3
    assert names(gallery, VECTORS[6]) == ["ann"]
    assert gallery.verify().problems == ()


def test_whose_date_has_come_is_erased_once(gallery: Gallery) -> None:
    gallery.enroll("main", "ann", [face(VECTORS[0])], expires_at=now() - timedelta(days=1))
    gallery.enroll("main", "bea", [face(VECTORS[5])], expires_at=now() + timedelta(days=1))
    told: list[Receipt] = []
    expiries = [Expiry(gallery, lambda receipt, _: told.append(receipt)) for _ in range(4)]
    with ThreadPoolExecutor(4) as pool:
        assert sum(pool.map(lambda expiry: expiry(), expiries)) == 1
    assert gallery.receipts().items == tuple(told)
    assert names(gallery, VECTORS[0]) == ["bea"]


def test_whose_date_has_come_is_found_by_nobody_before_being_erased(gallery: Gallery) -> None:
    day = timedelta(days=1)
    gallery.enroll("main", "ann", [face(VECTORS[0], id_="face of ann")], expires_at=now() - day)
    gallery.enroll("main", "bea", [face(VECTORS[5])], expires_at=now() + day)
    assert names(gallery, VECTORS[0], k=1) == ["bea"], "who has expired hides nobody"
    assert [subject.name for subject in gallery.subjects("main").items] == ["bea"]
    with pytest.raises(errors.SubjectNotFound):
        gallery.compare("main", "ann", A, VECTORS[0])
    with pytest.raises(errors.SubjectNotFound):
        gallery.subject("main", "ann")
    with pytest.raises(errors.SubjectNotFound):
        gallery.update_subject("main", "ann", expires_at=None)
    with pytest.raises(errors.FaceNotFound):
        gallery.face("main", "face of ann")
    enrolled = gallery.enroll("main", "cleo", [face(VECTORS[0])], duplicate=REJECT)
    assert enrolled.duplicates == ()
    assert gallery.update_subject("main", "bea", expires_at=now() - day).name == "bea"
    assert names(gallery, VECTORS[5]) == ["cleo"]
    assert gallery.delete_subject("main", "bea").faces == 1, "what is still there can be erased"


def test_who_gets_the_name_of_somebody_expired_is_somebody_else(gallery: Gallery) -> None:
    past = now() - timedelta(days=1)
    first = gallery.enroll("main", "ann", [face(VECTORS[0])], metadata={"door": 8}, expires_at=past)
    second = gallery.enroll("main", "ann", [face(VECTORS[5])])
    assert (second.created, second.subject.metadata, second.subject.expires_at) == (True, {}, None)
    (receipt,) = gallery.receipts().items
    assert (receipt.kind, receipt.target, receipt.faces) == ("subject", first.subject.id, 1)
    (entry,) = read_audit(gallery.database.engine, AuditQuery(principal="expiry")).items
    assert (entry.action, entry.target, entry.collection) == ("delete_subject", first.subject.id, "main")
    gallery.enroll("main", "bea", [face(VECTORS[10])], expires_at=past)
    move = partial(reassignment.move_face, keyring=Keyring.empty(), collection="main", subject="bea")
    moved = gallery.database.change(partial(move, face_id=second.faces[0].id))
    assert (moved.face.subject, len(gallery.receipts().items)) == ("bea", 2)
    assert names(gallery, VECTORS[10]) == ["bea"]
    assert gallery.subject("main", "bea").faces == 1
    assert Expiry(gallery, lambda *_: None)() == 0
    assert gallery.verify().problems == ()


def test_several_faces_are_erased_at_once(gallery: Gallery) -> None:
    gallery.enroll("main", "ann", [face(VECTORS[at], id_=f"face {at}") for at in range(3)])
    erased = gallery.delete_faces("main", ["face 2", "not there", "face 0"])
    assert [(face.id, face.subject, receipt.target) for face, receipt in erased] == [
        ("face 0", "ann", "face 0"),
        ("face 2", "ann", "face 2"),
    ]
    assert [face.id for face in gallery.faces("main", "ann").items] == ["face 1"]
    assert [receipt.target for receipt in gallery.receipts().items] == ["face 0", "face 2"]
    assert gallery.verify().problems == ()
    assert gallery.delete_faces("main", ["face 0"]) == []


def test_a_renamed_subject_is_found_under_its_new_name(gallery: Gallery) -> None:
    gallery.enroll("main", "Ann", [face(VECTORS[0])])
    gallery.update_subject("main", "Ann", new_name="Anna", metadata={"door": 8})
    assert names(gallery, VECTORS[0]) == ["Anna"]
    gallery.enroll("main", "Bob", [face(VECTORS[50])])
    with pytest.raises(errors.SubjectExists):
        gallery.update_subject("main", "Anna", new_name="Bob")


def test_an_erased_collection_is_gone_with_all_it_held(gallery: Gallery) -> None:
    gallery.create_collection("other", keep_crops=True)
    one = NewFace(new_id(), {A: VECTORS[0]}, crop=b"jpeg")
    gallery.enroll("other", "ann", [one, face(VECTORS[1])])
    assert gallery.crop("other", one.id) == b"jpeg"
    receipt = gallery.delete_collection("other")
    assert (receipt.faces, receipt.templates) == (2, 2)
    with pytest.raises(errors.CollectionNotFound):
        gallery.search("other", A, VECTORS[:1], 1)
    gallery.create_collection("other")
    assert gallery.search("other", A, VECTORS[:1], 1) == [[]]
    with pytest.raises(errors.CollectionExists):
        gallery.create_collection("other")


def test_collections_do_not_see_each_other(gallery: Gallery) -> None:
    gallery.create_collection("other")
    gallery.enroll("main", "Ann", [face(VECTORS[0])])
    gallery.enroll("other", "Bob", [face(VECTORS[50])])
    assert names(gallery, VECTORS[50]) == ["Ann"]
    assert [hit.subject for hit in gallery.search("other", A, VECTORS[:1], 5)[0]] == ["Bob"]


# ---- models


def test_another_model_is_a_refusal_and_each_keeps_its_dimension(gallery: Gallery) -> None:
    assert gallery.search("main", A, VECTORS[:2], 3) == [[], []]
    gallery.enroll("main", "Ann", [face(VECTORS[0])])
    with pytest.raises(errors.TemplateMissing, match="aaaaaaaaaaaa"):
        gallery.search("main", B, OTHERS[:1], 1)
    with pytest.raises(errors.TemplateMissing):
        gallery.compare("main", "Ann", B, OTHERS[0])
    with pytest.raises(VectorInvalid, match="32 dimensions"):
        gallery.enroll("main", "Ann", [face(OTHERS[0])])
    with pytest.raises(VectorInvalid, match="32 dimensions"):
        gallery.search("main", A, OTHERS[:1], 1)
    gallery.enroll("main", "Ann", [face(OTHERS[0], B)])
    assert gallery.search("main", B, OTHERS[:1], 1)[0][0].model == B
    assert set(gallery.counts.models("main", "Ann")) == {A, B}
    assert gallery.counts.templates("main", A) == gallery.counts.templates("main", B) == 1


def test_search_and_compare_agree_with_numpy_across_models_and_a_restart(opening: Open) -> None:
    gallery = opening()
    gallery.create_collection("main")
    groups = np.repeat(np.arange(60), 5)
    for number in range(60):
        faces = [NewFace(f"f{at}", {A: VECTORS[at], B: OTHERS[at]}) for at in np.flatnonzero(groups == number).tolist()]
        gallery.enroll("main", f"s{number}", faces)
    rows = np.arange(300)
    random = np.random.default_rng(1)
    for _ in range(2):
        for digest, vectors in ((A, VECTORS), (B, OTHERS)):
            probes = unit(random.standard_normal((20, vectors.shape[1])))
            for probe, hits in zip(probes, gallery.search("main", digest, probes, 4), strict=True):
                expected = exact(probe, rows, groups, vectors, 4)
                assert [(hit.subject, hit.face_id) for hit in hits] == [(f"s{g}", f"f{r}") for g, r, _ in expected]
                assert [hit.score for hit in hits] == pytest.approx([score for _, _, score in expected], abs=1e-5)
            hit = gallery.compare("main", "s7", digest, probes[0])
            own = (vectors[35:40].astype(np.float64) @ probes[0]).argmax()
            assert (hit.face_id, hit.subject) == (f"f{35 + own}", "s7")
        assert gallery.verify().problems == ()
        gallery.close()
        gallery = opening()
    assert {(size.model, size.templates) for size in gallery.counts.sizes()} == {(A, 300), (B, 300)}
    gallery.close()


def test_the_right_person_is_first_for_hard_probes(gallery: Gallery) -> None:
    vectors = people(400, 5, 64, seed=9)
    with ThreadPoolExecutor(4) as pool:
        list(
            pool.map(
                lambda n: gallery.enroll("main", f"s{n}", [face(v) for v in vectors[5 * n : 5 * n + 5]]), range(400)
            )
        )
    persons = np.arange(0, 400, 4)
    probes = hard_probes(persons, 400, 64, seed=9)
    found = [hits[0].subject for hits in gallery.search("main", A, probes, 3)]
    best = (vectors.astype(np.float32) @ probes.T).argmax(axis=0) // 5
    assert found == [f"s{number}" for number in best]


# ---- enrolment


def test_an_enrolment_is_whole_or_not_at_all(gallery: Gallery) -> None:
    taken = face(VECTORS[0])
    gallery.enroll("main", "Ann", [taken])
    with pytest.raises(errors.FaceExists):
        gallery.enroll("main", "Bob", [face(VECTORS[10]), face(VECTORS[11]), taken])
    with pytest.raises(errors.SubjectNotFound):
        gallery.subject("main", "Bob")
    assert names(gallery, VECTORS[10]) == ["Ann"]

    once = Idempotency("p", "k", "f")
    with pytest.raises(ValueError, match="object"):  # it cannot be kept
        gallery.enroll("main", "Bob", [face(VECTORS[10], B)], idempotency=once, report={"no": object()})
    assert gallery.counts.models("main") == (A,)
    assert gallery.verify().problems == ()


def test_a_duplicate_is_refused_right_after_the_first(gallery: Gallery) -> None:
    gallery.enroll("main", "Ann", [face(VECTORS[0])], duplicate=REJECT)
    with pytest.raises(errors.DuplicateSubject) as refused:
        gallery.enroll("main", "Impostor", [face(VECTORS[100]), face(VECTORS[1])], duplicate=REJECT)
    assert [hit.subject for hit in refused.value.hits] == ["Ann"]
    gallery.enroll("main", "Ann", [face(VECTORS[2])], duplicate=REJECT)
    gallery.delete_subject("main", "Ann")
    assert gallery.enroll("main", "Impostor", [face(VECTORS[1])], duplicate=REJECT).created


def test_of_fifty_who_enrol_the_same_person_at_once_one_gets_in(gallery: Gallery) -> None:
    assert admitted(gallery, A, VECTORS[:5]) == 1
    assert len(gallery.subjects("main").items) == 1
    assert gallery.counts.templates("main", A) == 1


def test_many_enrol_faces_of_the_same_new_subject_at_once(gallery: Gallery) -> None:
    barrier = threading.Barrier(16)

    def enrol(number: int) -> bool:
        barrier.wait()
        return gallery.enroll("main", "Ann", [face(VECTORS[number])]).created

    with ThreadPoolExecutor(16) as pool:
        assert sum(pool.map(enrol, range(16))) == 1
    assert gallery.subject("main", "Ann").faces == 16
    assert gallery.verify().problems == ()


def test_fifty_repetitions_at_once_enrol_once(gallery: Gallery) -> None:
    request = Idempotency("p", "burst", "f")

    def enrol(number: int) -> Enrolment:
        return gallery.enroll("main", "Ann", [face(VECTORS[number])], idempotency=request, report={"number": number})

    with ThreadPoolExecutor(50) as pool:
        outcomes = list(pool.map(enrol, range(50)))
    assert sum(not outcome.replayed for outcome in outcomes) == 1
    kept = gallery.replay(request)
    assert all(replace(outcome, replayed=True) == kept for outcome in outcomes)
    assert gallery.subject("main", "Ann").faces == 1
    with pytest.raises(errors.IdempotencyConflict):
        gallery.replay(Idempotency("p", "burst", "another"))


def test_an_entry_of_the_audit_log_is_durable_when_what_was_begun_has_ended(opening: Open) -> None:
    gallery = opening()
    log = AuditLog(gallery.database.defer, gallery.database.begin_write)
    query = AuditQuery(principal="key:begun")
    log.begin([AuditEntry("first", "key:begun", "verify", "match")]).result(PATIENCE)
    assert [entry.request_id for entry in read_audit(gallery.database.engine, query).items] == ["first"]
    begun = [log.begin([AuditEntry(f"r{number}", "key:begun", "verify", "match")]) for number in range(8)]
    gallery.close()
    assert [each.exception() for each in begun if each.done()] == [None] * 8
    again = opening()
    assert len(read_audit(again.database.engine, query).items) == 9
    again.close()


def test_enrolling_deleting_and_searching_at_once_leaves_record_and_index_agreed(gallery: Gallery) -> None:
    gallery.enroll("main", "stays", [face(VECTORS[295])])

    def live(number: int) -> None:
        for turn in range(6):
            one = face(VECTORS[5 * number + turn % 5])
            gallery.enroll("main", f"s{number % 4}", [one])  # four subjects, shared by all
            assert gallery.search("main", A, VECTORS[295][None], 1)[0][0].subject == "stays"
            try:
                if turn % 3 == 2:
                    gallery.delete_subject("main", f"s{number % 4}")
                else:
                    gallery.delete_face("main", one.id)
            except (errors.SubjectNotFound, errors.FaceNotFound):
                pass  # another one was quicker
            hits = gallery.search("main", A, one.templates[A][None], 50)[0]
            assert one.id not in {hit.face_id for hit in hits}

    with ThreadPoolExecutor(12) as pool:
        list(pool.map(live, range(12)))
    report = gallery.verify()
    assert report.problems == ()
    erased = sum(receipt.templates for receipt in gallery.receipts(limit=1000).items)
    assert erased + report.templates == 12 * 6 + 1  # every template was counted once


# ---- lists


@pytest.mark.parametrize("limit", [1, 5, 12, 13])
def test_paging_gives_everything_once_whatever_comes_and_goes(gallery: Gallery, limit: int) -> None:
    everybody = [f"p-{number}" for number in range(12)]
    for name in everybody:
        gallery.enroll("main", name, [face(VECTORS[0])])
    seen: list[str] = []
    cursor = None
    while True:
        page = gallery.subjects("main", cursor, limit, prefix="p-")
        assert len(page.items) <= limit
        seen += [subject.name for subject in page.items]
        if seen and "p-0" not in {subject.name for subject in page.items} and page.next_cursor:
            gallery.update_subject("main", everybody[-1], metadata={"seen": len(seen)})
        cursor = page.next_cursor
        if cursor is None:
            break
    assert seen == everybody
    with pytest.raises(CursorInvalid):
        gallery.subjects("main", "AAAA")


# ---- restart


def test_everything_is_there_after_a_restart(opening: Open) -> None:
    gallery = opening()
    gallery.create_collection("main", metadata={"site": 1})
    gallery.enroll("main", "Ann", [face(VECTORS[0])], metadata={"door": 7})
    before = gallery.subject("main", "Ann"), gallery.faces("main", "Ann").items, gallery.collection("main")
    gallery.close()
    again = opening()
    assert (again.subject("main", "Ann"), again.faces("main", "Ann").items, again.collection("main")) == before
    assert again.index.loaded.templates == 1
    assert names(again, VECTORS[0]) == ["Ann"]
    assert again.verify().sound
    again.check()
    again.close()
