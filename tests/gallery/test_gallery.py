"""The gallery behind its interface: records, search, decisions of the writer, and what a restart keeps."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import sqlalchemy as sa
from alembic.autogenerate import compare_metadata
from alembic.runtime.migration import MigrationContext
from hypothesis import given
from hypothesis import strategies as st

from service.database import paging
from service.database.audit_log import AuditEntry, AuditLog
from service.database.errors import CursorInvalid, StorageLocked, StorageUnavailable
from service.database.schema import audit, metadata, new_id
from service.gallery import errors
from service.gallery.embedded import open_embedded
from service.gallery.gallery import Gallery
from service.gallery.records import DuplicateCheck, DuplicatePolicy, Idempotency, NewFace
from service.index.base import Vector
from service.index.embedded.tiered import Tiers
from service.index.errors import VectorInvalid
from tests.gallery.rivals import admitted
from tests.gallery.vectors import exact, people, unit

A, B = "a" * 64, "b" * 64
VECTORS = people(60, 5, 32)


def face(vector: Vector, digest: str = A, id_: str | None = None) -> NewFace:
    return NewFace(id_ or new_id(), {digest: vector}, {"sharpness": 0.5}, (1, 2, 3, 4), ((0.5, 1),) * 5, "ab" * 32)


@pytest.fixture
def gallery(tmp_path: Path) -> Iterator[Gallery]:
    made = open_embedded(tmp_path / "data")
    made.create_collection("main")
    yield made
    made.close()


# ---- records


def test_collections_are_made_listed_and_erased_with_all_they_hold(gallery: Gallery) -> None:
    kept = gallery.create_collection("other", keep_crops=True, metadata={"site": 1})
    assert kept.keep_crops
    assert kept.metadata == {"site": 1}
    assert [collection.name for collection in gallery.collections().items] == ["main", "other"]
    with pytest.raises(errors.CollectionExists):
        gallery.create_collection("other")
    gallery.enroll("other", "ann", [face(VECTORS[0]), face(VECTORS[1])])
    receipt = gallery.delete_collection("other")
    assert (receipt.kind, receipt.target, receipt.faces, receipt.templates) == ("collection", "other", 2, 2)
    for call in (
        lambda: gallery.collection("other"),
        lambda: gallery.delete_collection("other"),
        lambda: gallery.subject("other", "ann"),
        lambda: gallery.search("other", A, VECTORS[:1], 1),
        lambda: gallery.enroll("other", "ann", [face(VECTORS[0])]),
        lambda: gallery.counts.templates("other", A),
    ):
        with pytest.raises(errors.CollectionNotFound):
            call()
    gallery.create_collection("other")
    assert gallery.search("other", A, VECTORS[:1], 1) == [[]]
    assert gallery.receipts().items == (receipt,)


@pytest.mark.parametrize("name", ["", " x", "x ", "a\nb", "x" * 201, "\u200b", "a/b"])
def test_names_that_cannot_be_shown_are_refused(gallery: Gallery, name: str) -> None:
    with pytest.raises(errors.NameInvalid):
        gallery.create_collection(name)
    with pytest.raises(errors.NameInvalid):
        gallery.enroll("main", name, [face(VECTORS[0])])


def test_a_subject_keeps_its_identity_through_rename_and_more_faces(gallery: Gallery) -> None:
    first = gallery.enroll("main", "Ann", [face(VECTORS[0])], metadata={"door": 7})
    assert first.created
    assert first.subject is not None
    assert first.subject.faces == 1
    second = gallery.enroll("main", "Ann", [face(VECTORS[1]), face(VECTORS[2])])
    assert not second.created
    assert second.subject == gallery.subject("main", "Ann")
    assert second.subject is not None
    assert (second.subject.faces, second.subject.metadata) == (3, {"door": 7})
    assert second.faces == gallery.faces("main", "Ann").items[1:]
    gallery.enroll("main", "Bob", [face(VECTORS[50])])
    with pytest.raises(errors.SubjectExists):
        gallery.update_subject("main", "Ann", new_name="Bob")
    renamed = gallery.update_subject("main", "Ann", new_name="Anna", metadata={"door": 8})
    assert (renamed.id, renamed.faces, renamed.metadata) == (first.subject.id, 3, {"door": 8})
    assert renamed.updated_at > renamed.created_at
    assert gallery.search("main", A, VECTORS[:1], 1)[0][0].subject == "Anna"
    with pytest.raises(errors.SubjectNotFound):
        gallery.subject("main", "Ann")


def test_deleting_is_visible_to_the_next_search_and_leaves_a_receipt(gallery: Gallery) -> None:
    ids = [new_id() for _ in range(3)]
    gallery.enroll("main", "Ann", [face(VECTORS[at], id_=ids[at]) for at in range(3)])
    gallery.enroll("main", "Bob", [face(VECTORS[20])])
    assert gallery.search("main", A, VECTORS[:1], 1)[0][0].face_id == ids[0]
    receipt = gallery.delete_face("main", ids[0])
    assert (receipt.kind, receipt.target, receipt.faces, receipt.templates) == ("face", ids[0], 1, 1)
    assert gallery.search("main", A, VECTORS[:1], 1)[0][0].face_id in ids[1:]
    with pytest.raises(errors.FaceNotFound):
        gallery.face("main", ids[0])
    subject = gallery.subject("main", "Ann")
    receipt = gallery.delete_subject("main", "Ann")
    assert (receipt.kind, receipt.target, receipt.faces) == ("subject", subject.id, 2)
    assert [hit.subject for hit in gallery.search("main", A, VECTORS[:1], 5)[0]] == ["Bob"]
    with pytest.raises(errors.SubjectNotFound):
        gallery.delete_subject("main", "Ann")
    with pytest.raises(errors.FaceNotFound):
        gallery.delete_face("main", ids[1])


def test_crops_are_kept_only_where_asked(gallery: Gallery) -> None:
    gallery.create_collection("keeping", keep_crops=True)
    for collection, expected in (("main", None), ("keeping", b"jpeg")):
        one = NewFace(new_id(), {A: VECTORS[0]}, crop=b"jpeg")
        gallery.enroll(collection, "ann", [one])
        assert gallery.crop(collection, one.id) == expected
        gallery.delete_face(collection, one.id)
        with pytest.raises(errors.FaceNotFound):
            gallery.crop(collection, one.id)


@pytest.mark.parametrize("limit", [1, 2, 5, 12, 13])
def test_paging_gives_everything_once_whatever_comes_and_goes(gallery: Gallery, limit: int) -> None:
    names = [f"p{limit}-{number}" for number in range(12)]
    for name in names:
        gallery.enroll("main", name, [face(VECTORS[0])])
    seen: list[str] = []
    cursor = None
    while True:
        page = gallery.subjects("main", cursor, limit, prefix=f"p{limit}-")
        assert len(page.items) <= limit
        seen += [subject.name for subject in page.items]
        if len(seen) >= 3 and f"gone{limit}" not in names:
            names.append(f"gone{limit}")
            gallery.delete_subject("main", names[0])  # already listed: nothing may shift
        cursor = page.next_cursor
        if cursor is None:
            break
    assert seen == [name for name in names if not name.startswith("gone")]


@pytest.mark.parametrize("cursor", ["x", "", "cjE=!", "AAAA", "r1"])
def test_a_foreign_cursor_is_refused(gallery: Gallery, cursor: str) -> None:
    with pytest.raises(CursorInvalid):
        gallery.subjects("main", cursor)


@given(st.integers(0, 2**63 - 1))
def test_cursors_come_back(row: int) -> None:
    assert paging.decode(paging.encode(row)) == row


# ---- enrolment


def test_an_enrolment_is_whole_or_not_at_all(gallery: Gallery) -> None:
    taken = face(VECTORS[0])
    gallery.enroll("main", "Ann", [taken])
    with pytest.raises(errors.FaceExists):
        gallery.enroll("main", "Bob", [face(VECTORS[10]), face(VECTORS[11]), taken])
    with pytest.raises(errors.SubjectNotFound):
        gallery.subject("main", "Bob")
    assert [hit.subject for hit in gallery.search("main", A, VECTORS[10:11], 5)[0]] == ["Ann"]

    once = Idempotency("p", "k", "f")
    with pytest.raises(ValueError, match="object"):  # it cannot be kept
        gallery.enroll("main", "Bob", [face(VECTORS[10])], idempotency=once, report={"no": object()})
    assert gallery.counts.templates("main", A) == 1
    assert gallery.verify().problems == ()


@pytest.mark.parametrize(
    "vector",
    [np.zeros(32), np.full(32, np.nan), np.full(32, np.inf), np.ones(32), VECTORS[0][:16] * 2, np.empty(0)],
    ids=["zero", "nan", "inf", "long", "scaled", "empty"],
)
def test_vectors_that_no_score_can_be_made_of_are_refused(gallery: Gallery, vector: Vector) -> None:
    gallery.enroll("main", "Ann", [face(VECTORS[0])])
    bad = np.asarray(vector, np.float32)
    for call in (
        lambda: gallery.enroll("main", "Bob", [face(bad)]),
        lambda: gallery.search("main", A, bad[None], 1),
        lambda: gallery.compare("main", "Ann", A, bad),
    ):
        with pytest.raises(VectorInvalid):
            call()


def test_a_model_keeps_its_dimension(gallery: Gallery) -> None:
    gallery.enroll("main", "Ann", [face(VECTORS[0])])
    other = unit(np.random.default_rng(0).standard_normal(16))
    with pytest.raises(VectorInvalid, match="32 dimensions"):
        gallery.enroll("main", "Ann", [face(other)])
    with pytest.raises(VectorInvalid, match="32 dimensions"):
        gallery.search("main", A, other[None], 1)
    gallery.enroll("main", "Ann", [face(other, B)])
    assert gallery.faces("main", "Ann").items[1].models == (B,)


def test_a_repeated_request_gets_the_first_answer_and_enrols_once(gallery: Gallery) -> None:
    request = Idempotency("key-1", "k", "fingerprint")
    assert gallery.replay(request) is None
    first = gallery.enroll("main", "Ann", [face(VECTORS[0])], idempotency=request, report={"images": [0.1, None]})
    again = gallery.enroll("main", "Ann", [face(VECTORS[1])], idempotency=request, report={"other": 1})
    assert again.replayed
    assert again == replace(first, replayed=True) == gallery.replay(request)
    assert gallery.subject("main", "Ann").faces == 1
    for call in (gallery.replay, lambda i: gallery.enroll("main", "Ann", [face(VECTORS[1])], idempotency=i)):
        with pytest.raises(errors.IdempotencyConflict):
            call(Idempotency("key-1", "k", "another"))
    assert gallery.replay(Idempotency("key-2", "k", "another")) is None  # keys are the principal's own


def test_fifty_repetitions_at_once_enrol_once(gallery: Gallery) -> None:
    request = Idempotency("p", "burst", "f")
    with ThreadPoolExecutor(50) as pool:
        outcomes = list(
            pool.map(lambda _: gallery.enroll("main", "Ann", [face(VECTORS[0])], idempotency=request), range(50))
        )
    assert sum(not outcome.replayed for outcome in outcomes) == 1
    assert gallery.subject("main", "Ann").faces == 1


def test_replies_expire(tmp_path: Path) -> None:
    gallery = open_embedded(tmp_path, keep_reply=timedelta(0))
    gallery.create_collection("main")
    request = Idempotency("p", "k", "f")
    for _ in range(2):
        assert not gallery.enroll("main", "Ann", [face(VECTORS[0])], idempotency=request).replayed
    assert gallery.replay(request) is None
    gallery.close()


def test_duplicates_are_refused_told_or_let_in(gallery: Gallery) -> None:
    def check(policy: DuplicatePolicy) -> DuplicateCheck:
        return DuplicateCheck(policy, A, 0.5)

    first = gallery.enroll("main", "Ann", [face(VECTORS[0])], duplicate=check(DuplicatePolicy.REJECT))
    assert first.duplicates == ()
    with pytest.raises(errors.DuplicateSubject) as refused:
        gallery.enroll(
            "main", "Impostor", [face(VECTORS[100]), face(VECTORS[1])], duplicate=check(DuplicatePolicy.REJECT)
        )
    assert [hit.subject for hit in refused.value.hits] == ["Ann"]
    assert refused.value.hits[0].score == pytest.approx(float(VECTORS[0] @ VECTORS[1]), abs=1e-3)
    with pytest.raises(errors.SubjectNotFound):
        gallery.subject("main", "Impostor")
    warned = gallery.enroll("main", "Twin", [face(VECTORS[1])], duplicate=check(DuplicatePolicy.WARN))
    assert [hit.subject for hit in warned.duplicates] == ["Ann"]
    let = gallery.enroll("main", "Third", [face(VECTORS[2])], duplicate=check(DuplicatePolicy.ALLOW))
    assert let.duplicates == ()
    own = gallery.enroll(
        "main", "Bob", [face(VECTORS[200]), face(VECTORS[201])], duplicate=check(DuplicatePolicy.REJECT)
    )
    more = gallery.enroll("main", "Bob", [face(VECTORS[202])], duplicate=check(DuplicatePolicy.REJECT))
    assert own.duplicates == more.duplicates == ()  # nobody is their own duplicate


def test_of_fifty_who_enrol_the_same_person_at_once_one_gets_in(gallery: Gallery) -> None:
    assert admitted(gallery, A, VECTORS[:5]) == 1
    assert len(gallery.subjects("main").items) == 1
    assert gallery.counts.templates("main", A) == 1


# ---- search


def test_search_and_compare_agree_with_numpy_across_models_and_a_restart(tmp_path: Path) -> None:
    other = people(60, 5, 24, seed=3)
    directory = tmp_path / "data"
    gallery = open_embedded(directory, tiers=Tiers(exact=100, fresh=50, segment=200, shortlist=200))
    gallery.create_collection("main")
    groups = np.repeat(np.arange(60), 5)
    for number in range(60):
        faces = [NewFace(f"f{at}", {A: VECTORS[at], B: other[at]}) for at in np.flatnonzero(groups == number).tolist()]
        gallery.enroll("main", f"s{number}", faces)
    rows = np.arange(300)
    random = np.random.default_rng(1)
    for _ in range(2):
        for digest, vectors in ((A, VECTORS), (B, other)):
            probes = unit(random.standard_normal((20, vectors.shape[1])))
            for probe, hits in zip(probes, gallery.search("main", digest, probes, 4), strict=True):
                expected = exact(probe, rows, groups, vectors, 4)
                assert [(hit.subject, hit.face_id) for hit in hits] == [(f"s{g}", f"f{r}") for g, r, _ in expected]
                assert [hit.score for hit in hits] == pytest.approx([score for _, _, score in expected], abs=1e-5)
                assert {hit.model for hit in hits} == {digest}
            hit = gallery.compare("main", "s7", digest, probes[0])
            own = (vectors[35:40].astype(np.float64) @ probes[0]).argmax()
            assert (hit.face_id, hit.subject) == (f"f{35 + own}", "s7")
            assert gallery.counts.templates("main", digest) == 300
        gallery.close()
        gallery = open_embedded(directory, tiers=Tiers(exact=100, fresh=50, segment=200, shortlist=200))
    gallery.close()


def test_collections_do_not_see_each_other(gallery: Gallery) -> None:
    gallery.create_collection("other")
    gallery.enroll("main", "Ann", [face(VECTORS[0])])
    gallery.enroll("other", "Ann", [face(VECTORS[50])])
    assert gallery.search("main", A, VECTORS[50:51], 5)[0][0].score < 0.5
    assert gallery.search("other", A, VECTORS[50:51], 5)[0][0].score > 0.99
    assert gallery.counts.templates("main", A) == gallery.counts.templates("other", A) == 1


def test_a_model_without_templates_is_a_refusal_not_a_stranger(gallery: Gallery) -> None:
    assert gallery.search("main", A, VECTORS[:2], 3) == [[], []]
    gallery.enroll("main", "Ann", [face(VECTORS[0])])
    with pytest.raises(errors.TemplateMissing, match="aaaaaaaaaaaa"):
        gallery.search("main", B, VECTORS[:1], 1)
    with pytest.raises(errors.TemplateMissing):
        gallery.compare("main", "Ann", B, VECTORS[0])
    gallery.delete_face("main", gallery.faces("main", "Ann").items[0].id)
    assert gallery.search("main", A, VECTORS[:1], 1) == [[]]
    with pytest.raises(errors.TemplateMissing, match="no template to compare with: enrol a photograph first"):
        gallery.compare("main", "Ann", A, VECTORS[0])


def test_a_score_never_leaves_its_range(gallery: Gallery) -> None:
    for number in range(20):
        gallery.enroll("main", f"s{number}", [face(VECTORS[number * 5])])
    for number in range(20):
        assert -1 <= gallery.search("main", A, VECTORS[[number * 5]], 1)[0][0].score <= 1
        assert -1 <= gallery.compare("main", f"s{number}", A, VECTORS[number * 5]).score <= 1


# ---- the store


def test_the_directory_belongs_to_one_process_at_a_time(gallery: Gallery, tmp_path: Path) -> None:
    with pytest.raises(StorageLocked, match="process"):
        open_embedded(tmp_path / "data")


def test_a_newer_schema_is_refused(tmp_path: Path) -> None:
    gallery = open_embedded(tmp_path)
    gallery.database.write(
        lambda connection: connection.exec_driver_sql("UPDATE alembic_version SET version_num = '9999'")
    )
    gallery.close()
    with pytest.raises(StorageUnavailable, match="newer version"):
        open_embedded(tmp_path)


def test_a_damaged_record_is_named(tmp_path: Path) -> None:
    (tmp_path / "gallery.sqlite3").write_bytes(b"not a database at all" * 300)
    with pytest.raises(StorageUnavailable, match="damaged"):
        open_embedded(tmp_path)


def test_the_audit_log_is_written_without_waiting(gallery: Gallery) -> None:
    audit_log = AuditLog(gallery.database.defer, gallery.database.begin_write)
    for number in range(30):
        audit_log.append(AuditEntry(f"r{number}", "key-1", "identify", "match", "main", A, 0.5))
    gallery.database.write(lambda connection: None)

    def read(connection: sa.Connection) -> list[tuple[str, str, float]]:
        asked = sa.select(audit.c.request_id, audit.c.outcome, audit.c.threshold).order_by(audit.c.row)
        return [tuple(row) for row in connection.execute(asked)]  # type: ignore[misc]

    assert gallery.database.write(read) == [(f"r{number}", "match", 0.5) for number in range(30)]


def test_sizes_and_check(gallery: Gallery) -> None:
    gallery.enroll("main", "Ann", [face(VECTORS[0])])
    (size,) = gallery.counts.sizes()
    assert (size.collection, size.model, size.templates) == ("main", A, 1)
    assert size.memory > 0
    gallery.check()


def test_the_migrations_make_the_schema_of_the_code(gallery: Gallery) -> None:
    with gallery.database.engine.connect() as connection:
        assert compare_metadata(MigrationContext.configure(connection), metadata) == []


def test_every_new_id_is_new_and_sorts_by_birth() -> None:
    ids = [new_id() for _ in range(1000)]
    assert len(set(ids)) == 1000
    assert [id_[:13] for id_ in ids] == sorted(id_[:13] for id_ in ids)
    assert all(id_[14] == "7" for id_ in ids)


def test_a_prefix_tells_small_letters_from_capitals_as_names_do(gallery: Gallery) -> None:
    for name in ("ann", "Anna", "%nn", "\U0001f600nn"):
        gallery.enroll("main", name, [face(VECTORS[0])])
    for prefix, names in (("a", ["ann"]), ("A", ["Anna"]), ("%", ["%nn"]), ("\U0001f600n", ["\U0001f600nn"])):
        assert [each.name for each in gallery.subjects("main", prefix=prefix).items] == names


def test_those_who_have_expired_hide_no_duplicate(gallery: Gallery) -> None:
    gallery.enroll("main", "Ann", [face(VECTORS[1])])
    past = datetime.now(UTC) - timedelta(seconds=1)
    for number in range(8):
        gallery.enroll("main", f"visit {number}", [face(VECTORS[0])], expires_at=past)
    check = DuplicateCheck(DuplicatePolicy.REJECT, A, 0.4)
    with pytest.raises(errors.DuplicateSubject) as refused:
        gallery.enroll("main", "Bea", [face(VECTORS[0])], duplicate=check)
    assert [hit.subject for hit in refused.value.hits] == ["Ann"]


def test_the_photographs_of_a_crowd_are_counted_within_the_databases_limits(gallery: Gallery) -> None:
    known = gallery.enroll("main", "Ann", [face(VECTORS[0]), face(VECTORS[1])]).subject.id

    def limit(connection: sqlite3.Connection, *_: Any) -> None:
        connection.setlimit(sqlite3.SQLITE_LIMIT_VARIABLE_NUMBER, 999)

    sa.event.listen(gallery.database.engine, "checkout", limit)
    crowd = [*(f"stranger {number}" for number in range(2000)), known]
    assert gallery.counts.photographs_of("main", crowd, [A]) == {known: 1}
