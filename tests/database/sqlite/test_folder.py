"""The data folder: private, locked, told from a first start when its database is lost, backed up and brought back."""

from __future__ import annotations

import errno
import os
import shutil
import sqlite3
import stat
from collections.abc import Iterator
from contextlib import closing
from functools import partial
from pathlib import Path

import pytest
import sqlalchemy as sa
from typer.testing import CliRunner

from service.cli import app
from service.database.audit_log import AuditLog
from service.database.encryption import Keyring
from service.database.errors import StorageFull, StorageLocked, StorageUnavailable
from service.database.sqlite import database as sqlite_database
from service.gallery.changes.reassignment import merge_subjects
from service.gallery.embedded import open_embedded
from service.gallery.gallery import Gallery
from service.gallery.records import NewFace
from service.keys import Keys, Scope
from service.observation import DecisionContext, DecisionEvent, Observers, Reassignment
from service.observers.audit import Auditor
from tests.gallery.vectors import people

A = "a" * 64
PERSONS = people(3, 1, 32)
run = CliRunner().invoke


def fill(folder: Path) -> None:
    with closing(open_embedded(folder)) as gallery:
        gallery.create_collection("main")
        for number in range(3):
            gallery.enroll("main", f"p{number}", [NewFace(f"f{number}", {A: PERSONS[number]})])
        Keys(gallery.database.engine).create("admin", [Scope.ADMIN])


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    fill(tmp_path / "data")
    return tmp_path / "data"


@pytest.fixture
def serving(folder: Path) -> Iterator[Gallery]:
    with closing(open_embedded(folder)) as gallery:
        yield gallery


# ---- privacy


def test_folder_and_files_are_the_owners_alone(tmp_path: Path) -> None:
    before = os.umask(0o022)
    try:
        with closing(open_embedded(tmp_path / "data")) as gallery:
            gallery.create_collection("main")
            modes = {path.name: stat.S_IMODE(path.stat().st_mode) for path in (tmp_path / "data").iterdir()}
            assert stat.S_IMODE((tmp_path / "data").stat().st_mode) == 0o700
            assert modes
            assert set(modes.values()) == {0o600}, modes
    finally:
        os.umask(before)


def test_files_of_before_become_private(folder: Path) -> None:
    (folder / "gallery.sqlite3").chmod(0o644)
    with closing(open_embedded(folder)):
        assert stat.S_IMODE((folder / "gallery.sqlite3").stat().st_mode) == 0o600


def test_an_archive_and_a_backup_are_private(folder: Path, tmp_path: Path) -> None:
    before = os.umask(0o022)
    try:
        assert run(app, ["gallery", "export", str(tmp_path / "a.facet"), "--data", str(folder)]).exit_code == 0
        assert run(app, ["backup", str(tmp_path / "b.sqlite3"), "--data", str(folder)]).exit_code == 0
    finally:
        os.umask(before)
    assert stat.S_IMODE((tmp_path / "a.facet").stat().st_mode) == 0o600
    assert stat.S_IMODE((tmp_path / "b.sqlite3").stat().st_mode) == 0o600


# ---- a database that is lost


@pytest.mark.parametrize("loss", ["emptied", "missing", "cut"])
def test_a_lost_database_is_no_first_start(folder: Path, loss: str) -> None:
    database = folder / "gallery.sqlite3"
    if loss == "emptied":
        database.write_bytes(b"")
    elif loss == "missing":
        database.unlink()
    else:
        database.write_bytes(database.read_bytes()[:-4096])
    with pytest.raises(StorageUnavailable, match="facet restore"):
        open_embedded(folder)
    for command in (["gallery", "verify"], ["keys", "list"]):
        assert run(app, [*command, "--data", str(folder)]).exit_code == 1


def test_a_copy_without_its_log_is_told_so(tmp_path: Path) -> None:
    with closing(open_embedded(tmp_path / "data")) as gallery:
        gallery.create_collection("main")
        (tmp_path / "copy").mkdir()
        shutil.copy(tmp_path / "data" / "gallery.sqlite3", tmp_path / "copy")
    with pytest.raises(StorageUnavailable, match="facet backup"):
        open_embedded(tmp_path / "copy")
    result = run(app, ["gallery", "verify", "--data", str(tmp_path / "copy")])
    assert result.exit_code == 1


@pytest.mark.parametrize("content", [None, b""])
def test_a_first_start_that_was_killed_is_begun_again(tmp_path: Path, content: bytes | None) -> None:
    tmp_path.joinpath("gallery.lock").touch()
    if content is not None:
        tmp_path.joinpath("gallery.sqlite3").write_bytes(content)
    else:
        with closing(sqlite3.connect(tmp_path / "gallery.sqlite3")) as connection:
            connection.execute("PRAGMA journal_mode = WAL")
    with closing(open_embedded(tmp_path)) as gallery:
        assert gallery.collections().items == ()


# ---- the lock


def test_the_lock_holds_when_its_file_is_removed(serving: Gallery, folder: Path) -> None:
    (folder / "gallery.lock").unlink()
    with pytest.raises(StorageLocked):
        open_embedded(folder)
    assert serving.collections().items


# ---- a full disk


def test_a_full_disk_is_seen_before_a_change_fails(serving: Gallery, monkeypatch: pytest.MonkeyPatch) -> None:
    serving.check()
    usage = shutil.disk_usage("/")._replace(free=0)
    monkeypatch.setattr(sqlite_database.shutil, "disk_usage", lambda _: usage)
    with pytest.raises(StorageFull):
        serving.check()
    monkeypatch.undo()
    serving.check()


def test_after_a_change_found_the_disk_full_another_is_tried(serving: Gallery) -> None:
    def fail(_: sa.Connection) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    sa.event.listen(serving.database.engine, "commit", fail)
    with pytest.raises(StorageFull):
        serving.enroll("main", "p9", [NewFace("f9", {A: PERSONS[0]})])
    with pytest.raises(StorageFull):
        serving.check()
    sa.event.remove(serving.database.engine, "commit", fail)
    serving.check()
    assert serving.subjects("main").items


# ---- backup and restore


def test_a_backup_of_a_serving_gallery_is_whole(serving: Gallery, tmp_path: Path) -> None:
    serving.enroll("main", "late", [NewFace("late", {A: PERSONS[0]})])
    result = run(app, ["backup", str(tmp_path / "b"), "--data", str(tmp_path / "data")])
    assert result.exit_code == 0, result.output
    assert "4 subjects" in result.output
    assert "1 keys" in result.output
    assert run(app, ["backup", str(tmp_path / "b"), "--data", str(tmp_path / "data")]).exit_code == 1
    assert run(app, ["restore", str(tmp_path / "b"), "--data", str(tmp_path / "new")]).exit_code == 0
    with closing(open_embedded(tmp_path / "new")) as gallery:
        assert [subject.name for subject in gallery.subjects("main").items] == ["p0", "p1", "p2", "late"]
        assert gallery.verify().sound
        assert [key.name for key in Keys(gallery.database.engine).list()] == ["admin"]


def test_who_was_erased_after_the_backup_is_erased_in_it(folder: Path, tmp_path: Path) -> None:
    assert run(app, ["backup", str(tmp_path / "b"), "--data", str(folder)]).exit_code == 0
    with closing(open_embedded(folder)) as gallery:
        receipt = gallery.delete_subject("main", "p1")
        gallery.enroll("main", "later", [NewFace("later", {A: PERSONS[1]})])
    assert run(app, ["restore", str(tmp_path / "b"), "--data", str(folder)]).exit_code == 1
    result = run(app, ["restore", str(tmp_path / "b"), "--replace", "--data", str(folder)])
    assert result.exit_code == 0, result.output
    assert "erased again" in result.output
    with closing(open_embedded(folder)) as gallery:
        assert [subject.name for subject in gallery.subjects("main").items] == ["p0", "p2"]
        assert receipt in gallery.receipts().items
        assert gallery.verify().sound


def test_who_was_merged_with_somebody_erased_is_erased_in_a_backup_of_before(folder: Path, tmp_path: Path) -> None:
    assert run(app, ["backup", str(tmp_path / "b"), "--data", str(folder)]).exit_code == 0
    with closing(open_embedded(folder)) as gallery:
        for other, subject in (("p2", "p1"), ("p1", "p0")):
            merge = partial(merge_subjects, keyring=Keyring.empty(), collection="main", subject=subject, other=other)
            merger = gallery.database.change(merge)
            auditor = Auditor(AuditLog(gallery.database.defer, gallery.database.begin_write))
            told = Reassignment("merge_subjects", merger.merged, merger.subject.id, merger.faces)
            Observers([auditor]).publish(DecisionEvent(DecisionContext("same", "key:1", "main"), told))
        gallery.delete_subject("main", "p0")
    result = run(app, ["restore", str(tmp_path / "b"), "--replace", "--data", str(folder)])
    assert result.exit_code == 0, result.output
    with closing(open_embedded(folder)) as gallery:
        assert gallery.subjects("main").items == ()
        assert gallery.verify().sound


@pytest.mark.parametrize("whole", [True, False])
def test_a_collection_that_was_erased_after_the_backup_is_erased_in_it(
    folder: Path, tmp_path: Path, whole: bool
) -> None:
    with closing(open_embedded(folder)) as gallery:
        gallery.create_collection("other")
        gallery.enroll("other", "stays", [NewFace("stays", {A: PERSONS[1]})])
    assert run(app, ["backup", str(tmp_path / "b"), "--data", str(folder)]).exit_code == 0
    with closing(open_embedded(folder)) as gallery:
        receipt = gallery.delete_collection("main") if whole else gallery.delete_subjects("main")[0]
        if whole:
            gallery.create_collection("main")  # another one, of after the receipt
        gallery.enroll("main", "later", [NewFace("later", {A: PERSONS[0]})])
    assert run(app, ["backup", str(tmp_path / "c"), "--data", str(folder)]).exit_code == 0
    for file, left in (("b", []), ("c", ["later"])):
        result = run(app, ["restore", str(tmp_path / file), "--replace", "--data", str(folder)])
        assert result.exit_code == 0, result.output
        with closing(open_embedded(folder)) as gallery:
            assert [subject.name for subject in gallery.subjects("other").items] == ["stays"]
            assert receipt in gallery.receipts().items
            assert gallery.verify().sound
            if file == "b" and whole:
                assert [collection.name for collection in gallery.collections().items] == ["other"]
                gallery.create_collection("main")
            assert [subject.name for subject in gallery.subjects("main").items] == left


def test_a_restore_beside_a_service_is_refused(serving: Gallery, folder: Path, tmp_path: Path) -> None:
    assert run(app, ["backup", str(tmp_path / "b"), "--data", str(folder)]).exit_code == 0
    assert run(app, ["restore", str(tmp_path / "b"), "--replace", "--data", str(folder)]).exit_code == 1
    assert serving.subjects("main").items


@pytest.mark.parametrize("content", [b"", b"no database" * 1000, None])
def test_what_is_no_backup_is_refused(tmp_path: Path, folder: Path, content: bytes | None) -> None:
    file = tmp_path / "b"
    if content is None:
        file.write_bytes((folder / "gallery.sqlite3").read_bytes())
        with file.open("r+b") as damaged:
            damaged.seek(4096 * 5)
            damaged.write(os.urandom(4096))
    else:
        file.write_bytes(content)
    assert run(app, ["restore", str(file), "--data", str(tmp_path / "new")]).exit_code == 1
    assert not (tmp_path / "new" / "gallery.sqlite3").exists()
