"""When a receipt is given, no file of the data folder holds what was erased: a search of every byte finds nothing."""

from __future__ import annotations

import gzip
import sqlite3
import threading
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from datetime import timedelta
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import sqlalchemy as sa

from service.database.errors import ErasureUnfinished
from service.database.schema import now, replies
from service.gallery.embedded import open_embedded
from service.gallery.errors import EnrolmentErased, IdempotencyConflict
from service.gallery.gallery import Gallery
from service.gallery.maintenance.expiry import Expiry
from service.gallery.records import DuplicateCheck, DuplicatePolicy, Enrolment, Idempotency, NewFace
from service.index import vectors
from service.index.embedded.segment import Segment
from service.index.embedded.tiered import TieredIndex, Tiers
from tests.gallery.vectors import people
from tests.waiting import PATIENCE

A = "a" * 64
DIM = 64
PERSONS = people(60, 4, DIM, seed=3)
TIERS = Tiers(exact=40, fresh=16, segment=100)
NAME, BADGE, KEY = "Ida Fern Moss", "badge-of-gardener-7", "enrol-ida-fern-moss"
LAST_RELEASE = Path(__file__).parents[1] / "database" / "last_release" / "gallery.sqlite3.gz"


def opened(directory: Path) -> Gallery:
    return open_embedded(directory, tiers=TIERS)


def crop(number: int) -> bytes:
    return np.random.default_rng(1000 + number).bytes(6_000)


def request(fingerprint: str = "f" * 64) -> Idempotency:
    return Idempotency("key:tenant", KEY, fingerprint, "request-1")


def fill(gallery: Gallery) -> Enrolment:
    """Twenty people, then the one who will be erased, then twenty more."""
    gallery.create_collection("main", keep_crops=True)
    for number in (*range(1, 21), 0, *range(21, 41)):
        new = [NewFace(f"face-{number}-{at}", {A: PERSONS[4 * number + at]}, crop=crop(number)) for at in range(4)]
        if number:
            gallery.enroll("main", f"person {number}", new)
        else:
            result = gallery.enroll("main", NAME, new, metadata={"badge": BADGE}, idempotency=request())
    return result


def traces(directory: Path) -> set[tuple[str, str]]:
    """Files that hold something of the person, and what."""
    needles = {"name": NAME.encode(), "metadata": BADGE.encode(), "idempotency key": KEY.encode()}
    for at in range(4):
        packed = vectors.pack(PERSONS[at])
        needles |= {f"template {at} at {start}": packed[start : start + 16] for start in range(0, len(packed), 16)}
    picture = crop(0)
    needles |= {f"crop at {start}": picture[start : start + 32] for start in range(0, len(picture), 500)}
    found = set()
    for file in directory.rglob("*"):
        if file.is_file():
            content = file.read_bytes()
            found |= {(file.name, what) for what, needle in needles.items() if needle in content}
    return found


@pytest.mark.parametrize("settled", [False, True], ids=["fresh", "in segments"])
@pytest.mark.parametrize("what", ["subject", "collection"])
def test_nothing_of_an_erased_person_is_in_any_file(tmp_path: Path, settled: bool, what: str) -> None:
    with closing(opened(tmp_path)) as gallery:
        fill(gallery)
        if settled:
            gallery.compact()
            assert any(name.endswith(".segment") for name, _ in traces(tmp_path))
        assert traces(tmp_path)
        gallery.delete_subject("main", NAME) if what == "subject" else gallery.delete_collection("main")
        assert traces(tmp_path) == set()


def test_a_face_erased_alone_leaves_no_template_and_no_crop(tmp_path: Path) -> None:
    with closing(opened(tmp_path)) as gallery:
        fill(gallery)
        gallery.compact()
        for at in range(4):
            gallery.delete_face("main", f"face-0-{at}")
        assert {what for _, what in traces(tmp_path)} == {"name", "metadata"}


def test_what_is_written_later_does_not_bring_it_back(tmp_path: Path) -> None:
    with closing(opened(tmp_path)) as gallery:
        fill(gallery)
        gallery.compact()
        gallery.delete_subject("main", NAME)
        for index in gallery.index.indexes():  # type: ignore[attr-defined]
            index.write_missing(lambda: False)
        assert list(tmp_path.rglob("*.segment"))
        assert traces(tmp_path) == set()
    assert traces(tmp_path) == set()
    with closing(opened(tmp_path)) as gallery:
        assert gallery.index.loaded.from_files > 0
        assert gallery.verify().sound
        assert traces(tmp_path) == set()


def test_segments_sealed_anew_after_an_erasure_do_not_bring_it_back(tmp_path: Path) -> None:
    with closing(opened(tmp_path)) as gallery:
        fill(gallery)
        gallery.compact()
        gallery.delete_subject("main", NAME)
        gallery.index.reseal()  # type: ignore[attr-defined]
        assert traces(tmp_path) == set()
        for index in gallery.index.indexes():  # type: ignore[attr-defined]
            index.write_missing(lambda: False)
        assert list(tmp_path.rglob("*.segment"))
        assert traces(tmp_path) == set()


def test_an_erasure_beside_a_rebuild_waits_for_it(tmp_path: Path) -> None:
    with closing(opened(tmp_path)) as gallery:
        fill(gallery)
        done = threading.Event()

        def rebuild() -> None:
            while not done.is_set():
                gallery.index.compact()  # type: ignore[attr-defined]
                for index in gallery.index.indexes():  # type: ignore[attr-defined]
                    index.rewrite()

        thread = threading.Thread(target=rebuild)
        thread.start()
        gallery.delete_subject("main", NAME)
        held = traces(tmp_path)
        done.set()
        thread.join()
        assert held == set()
        assert traces(tmp_path) == set()


class _Met(TieredIndex):
    """Whose erasures wait for one another: both have begun before one ends."""

    meeting: threading.Barrier

    def erase(self) -> None:
        """Meet, then erase."""
        self.meeting.wait(PATIENCE)
        super().erase()


class _Files:
    """Files that are there until they are cleared."""

    def __init__(self, stubborn: bool = False) -> None:
        self.left, self._stubborn = True, stubborn

    def clear(self) -> bool:
        """Clear them, if they let themselves be cleared."""
        self.left = self.left and self._stubborn
        return not self.left

    def write(self, segment: Segment) -> None:
        """Keep nothing."""

    def remove(self, file: Path) -> None:
        """There is none."""


def test_erasures_of_collections_at_the_same_moment_leave_none_out(tmp_path: Path) -> None:
    with closing(opened(tmp_path)) as gallery:
        held = [_Files(), _Files()]
        first, second = _Met(DIM, TIERS, files=held[0]), TieredIndex(DIM, TIERS, files=held[1])
        first.meeting = threading.Barrier(2)
        for index in (first, second):
            index._gone = True  # discarded while a rebuild was under way: its files are still there
            gallery.index._discarded.append(index)  # type: ignore[attr-defined]
        with ThreadPoolExecutor(2) as pool:
            done = [pool.submit(gallery.erase_traces) for _ in range(2)]
            assert [each.result(PATIENCE) for each in done] == [None, None]
        assert [each.left for each in held] == [False, False]
        assert not gallery.index._discarded  # type: ignore[attr-defined]


def test_files_of_a_collection_that_cannot_be_deleted_are_told_and_tried_again() -> None:
    files = _Files(stubborn=True)
    index = TieredIndex(DIM, TIERS, files=files)
    index.discard()
    with pytest.raises(ErasureUnfinished):
        index.erase()
    files._stubborn = False
    index.erase()
    assert not files.left


def test_several_faces_are_erased_in_one_change_and_the_files_cleaned_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with closing(opened(tmp_path)) as gallery:
        fill(gallery)
        gallery.compact()
        done: list[str] = []
        change, tidy = gallery.database.change, gallery.database.tidy

        def counted_change(work: Any) -> Any:
            done.append("change")
            return change(work)

        def counted_tidy() -> None:
            done.append("tidy")
            tidy()

        monkeypatch.setattr(gallery.database, "change", counted_change)
        monkeypatch.setattr(gallery.database, "tidy", counted_tidy)
        assert len(gallery.delete_faces("main", [f"face-0-{at}" for at in range(4)])) == 4
        assert done == ["change", "tidy"]
        assert {what for _, what in traces(tmp_path)} == {"name", "metadata"}


def test_an_expired_person_whose_name_is_given_again_leaves_no_trace(tmp_path: Path) -> None:
    with closing(opened(tmp_path)) as gallery:
        fill(gallery)
        gallery.compact()
        gallery.update_subject("main", NAME, new_name="x", expires_at=now() - timedelta(days=1))
        assert "metadata" in {what for _, what in traces(tmp_path)}
        gallery.enroll("main", "x", [NewFace("new", {A: PERSONS[-1]})])
        assert traces(tmp_path) == set()


def test_who_gets_the_name_of_an_expired_person_is_enrolled_though_a_reader_holds_the_old_pages(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with closing(opened(tmp_path)) as gallery:
        fill(gallery)
        gallery.update_subject("main", NAME, new_name="x", expires_at=now() - timedelta(days=1))
        with gallery.database.engine.connect() as connection, connection.begin():
            connection.execute(sa.select(replies)).all()
            monkeypatch.setattr("service.database.sqlite.engine.CHECKPOINT_SECONDS", 0.2)
            assert gallery.enroll("main", "x", [NewFace("new", {A: PERSONS[-1]})]).created
        Expiry(gallery, lambda *_: None)()
        assert traces(tmp_path) == set()


def test_an_erasure_that_was_interrupted_is_finished_by_the_upkeep(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with closing(opened(tmp_path)) as gallery:
        fill(gallery)
        gallery.compact()
        with monkeypatch.context() as broken:
            broken.setattr(gallery, "erase_traces", lambda: (_ for _ in ()).throw(ErasureUnfinished()))
            with pytest.raises(ErasureUnfinished):
                gallery.delete_subject("main", NAME)
        assert traces(tmp_path)
        Expiry(gallery, lambda *_: None)()
        assert traces(tmp_path) == set()


def test_a_reader_that_holds_the_old_pages_is_told_and_not_hidden(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with closing(opened(tmp_path)) as gallery:
        fill(gallery)
        with gallery.database.engine.connect() as connection, connection.begin():
            connection.execute(sa.select(replies)).all()
            monkeypatch.setattr("service.database.sqlite.engine.CHECKPOINT_SECONDS", 0.2)
            with pytest.raises(ErasureUnfinished):
                gallery.delete_subject("main", NAME)
        assert gallery.receipts().items[-1].kind == "subject"
        gallery.erase_traces()
        assert traces(tmp_path) == set()


def test_what_is_kept_of_others_does_not_name_an_erased_person(tmp_path: Path) -> None:
    with closing(opened(tmp_path)) as gallery:
        fill(gallery)
        again = Idempotency("key:tenant", "enrol-her-twin", "t" * 64, "request-2")
        check = DuplicateCheck(DuplicatePolicy.WARN, A, 0.9)
        twin = [NewFace("twin", {A: PERSONS[0]})]
        first = gallery.enroll("main", "twin", twin, duplicate=check, idempotency=again)
        assert [hit.subject for hit in first.duplicates] == [NAME]
        kept = gallery.replay(again)
        assert isinstance(kept, Enrolment)
        assert kept.duplicates == first.duplicates
        gallery.delete_subject("main", NAME)
        assert {what for _, what in traces(tmp_path)} <= {f"template 0 at {at}" for at in range(0, 2 * DIM, 16)}
        kept = gallery.replay(again)
        assert isinstance(kept, Enrolment)
        assert (kept.subject.name, kept.duplicates) == ("twin", ())


def test_a_request_repeated_after_an_erasure_is_told_so(tmp_path: Path) -> None:
    with closing(opened(tmp_path)) as gallery:
        first = fill(gallery)
        again = gallery.replay(request())
        assert isinstance(again, Enrolment)
        assert again.subject == first.subject
        with pytest.raises(IdempotencyConflict):
            gallery.replay(request("other"))
        gallery.delete_subject("main", NAME)
        new = [NewFace("new", {A: PERSONS[0]})]
        with pytest.raises(EnrolmentErased):
            gallery.replay(request())
        with pytest.raises(EnrolmentErased):
            gallery.enroll("main", NAME, new, idempotency=request())
        assert gallery.enroll("main", NAME, new, idempotency=Idempotency("key:tenant", "other", "f")).created


def test_outcomes_whose_time_is_up_go_without_a_request(tmp_path: Path) -> None:
    with closing(open_embedded(tmp_path, keep_reply=timedelta(seconds=-1))) as gallery:
        fill(gallery)
        gallery.prune()
        assert {what for _, what in traces(tmp_path) if what == "idempotency key"} == set()


def test_a_copy_from_before_the_schema_changed_goes_with_the_first_erasure(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    (tmp_path / "gallery.sqlite3").write_bytes(gzip.decompress(LAST_RELEASE.read_bytes()))
    with closing(open_embedded(tmp_path)) as gallery:
        (copy,) = tmp_path.glob("gallery.*.before")
        assert copy.name in caplog.text
        assert copy.stat().st_mode & 0o777 == 0o600
        with closing(sqlite3.connect(copy)) as connection:
            assert connection.execute("SELECT count(*) FROM subjects").fetchone() == (2,)
        gallery.delete_subject("default", "person-1")
        assert not copy.exists()
        assert all(b"person-1" not in file.read_bytes() for file in tmp_path.rglob("*") if file.is_file())


def test_a_copy_from_before_the_schema_changed_outlives_the_erasures_of_before(tmp_path: Path) -> None:
    (tmp_path / "gallery.sqlite3").write_bytes(gzip.decompress(LAST_RELEASE.read_bytes()))
    with closing(sqlite3.connect(tmp_path / "gallery.sqlite3")) as connection:
        columns = "id, kind, target, faces, templates, at"
        receipt = ("r", "subject", "s", 1, 1, "2026-01-01 00:00:00.000000")
        connection.execute(f"INSERT INTO receipts ({columns}) VALUES (?, ?, ?, ?, ?, ?)", receipt)
        connection.commit()
    with closing(open_embedded(tmp_path)) as gallery:
        Expiry(gallery, lambda *_: None)()
        (copy,) = tmp_path.glob("gallery.*.before")
        gallery.delete_subject("default", "person-1")
        assert not copy.exists()
