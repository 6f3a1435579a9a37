"""Segment files: used when they agree with the record, refused and replaced when they do not."""

from __future__ import annotations

import os
import shutil
from contextlib import closing
from pathlib import Path

import numpy as np
import pytest

from service.gallery.embedded import open_embedded
from service.gallery.gallery import Gallery
from service.gallery.records import NewFace
from service.index.base import Progress
from service.index.embedded.tiered import Tiers
from tests.gallery.vectors import people

A = "a" * 64
TIERS = Tiers(exact=100, fresh=40, segment=150)
VECTORS = people(80, 5, 32)


def opened(directory: Path, told: list[Progress] | None = None) -> Gallery:
    return open_embedded(directory, tiers=TIERS, progress=None if told is None else told.append)


@pytest.fixture(scope="module")
def original(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A closed gallery of 400 templates of 80 subjects, most of them in segment files."""
    directory = tmp_path_factory.mktemp("original") / "data"
    gallery = opened(directory)
    gallery.create_collection("main")
    for number in range(80):
        faces = [NewFace(f"{number}-{at}", {A: VECTORS[5 * number + at]}) for at in range(5)]
        gallery.enroll("main", f"s{number}", faces)
    gallery.compact()
    gallery.close()
    assert len(files(directory)) >= 2
    return directory


@pytest.fixture
def data(original: Path, tmp_path: Path) -> Path:
    """A copy of it."""
    return Path(shutil.copytree(original, tmp_path / "data"))


def files(directory: Path) -> list[Path]:
    return sorted(directory.rglob("*.segment"))


def check(directory: Path, *, refused: int, templates: int = 400) -> Gallery:
    """Open, and see that everything is there, whatever became of the files."""
    gallery = opened(directory)
    assert len(gallery.index.loaded.refused) == refused
    assert gallery.index.loaded.templates == templates
    assert gallery.verify().problems == ()
    for number in (0, 33, 79):
        if templates == 400:
            assert gallery.search("main", A, VECTORS[[5 * number]], 1)[0][0].face_id == f"{number}-0"
    return gallery


def test_files_are_the_owners_alone_also_in_a_folder_that_is_not(tmp_path: Path) -> None:
    before = os.umask(0o022)
    try:
        (tmp_path / "data").mkdir(mode=0o755)
        with closing(opened(tmp_path / "data")) as gallery:
            gallery.create_collection("main")
            gallery.enroll("main", "s", [NewFace(str(at), {A: vector}) for at, vector in enumerate(VECTORS[:160])])
            gallery.compact()
    finally:
        os.umask(before)
    assert files(tmp_path / "data")
    assert {file.stat().st_mode & 0o777 for file in files(tmp_path / "data")} == {0o600}


def test_a_start_takes_what_it_can_from_files_and_the_rest_from_the_record(data: Path) -> None:
    told: list[Progress] = []
    gallery = opened(data, told)
    assert gallery.index.loaded.from_files >= 250
    assert gallery.index.loaded.from_files + gallery.index.loaded.from_database == 400
    assert told[-1].done == told[-1].total == 400
    gallery.close()
    check(data, refused=0).close()


@pytest.mark.parametrize(
    "damage", ["missing", "empty", "truncated", "flipped head", "flipped body", "flipped end", "foreign"]
)
def test_a_damaged_file_is_refused_and_made_again(data: Path, damage: str) -> None:
    victim = files(data)[0]
    content = bytearray(victim.read_bytes())
    if damage == "missing":
        shutil.rmtree(victim.parent)
    elif damage == "empty":
        victim.write_bytes(b"")
    elif damage == "truncated":
        victim.write_bytes(content[: len(content) // 2])
    elif damage == "foreign":
        victim.write_bytes(b"something else entirely")
    else:
        at = {"flipped head": 20, "flipped body": len(content) // 2, "flipped end": len(content) - 1}[damage]
        content[at] ^= 4
        victim.write_bytes(content)
    gallery = check(data, refused=0 if damage == "missing" else 1)
    assert not victim.exists()
    gallery.compact()
    gallery.close()
    again = check(data, refused=0)
    assert again.index.loaded.from_files >= 250
    again.close()


def test_files_of_another_gallery_are_refused(data: Path, tmp_path: Path) -> None:
    other = tmp_path / "other"
    gallery = opened(other)
    gallery.create_collection("main")
    gallery.enroll("main", "only", [NewFace("x", {A: VECTORS[0]})])
    gallery.close()
    shutil.copytree(data / "segments", other / "segments")
    gallery = check(other, refused=len(files(data)), templates=1)
    assert gallery.search("main", A, VECTORS[[0]], 5)[0][0].subject == "only"
    gallery.close()


def test_a_stale_file_is_completed_and_corrected_by_the_record(data: Path, tmp_path: Path) -> None:
    shutil.copytree(data / "segments", tmp_path / "old")
    gallery = opened(data)
    for number in range(60):
        gallery.delete_subject("main", f"s{number}")
    for number in range(60):
        gallery.enroll("main", f"new{number}", [NewFace(f"new{number}", {A: -VECTORS[number]})])
    gallery.compact()
    gallery.close()
    shutil.rmtree(data / "segments")
    shutil.copytree(tmp_path / "old", data / "segments")
    gallery = check(data, refused=0, templates=160)
    found = gallery.search("main", A, VECTORS[[0, 5, 399]], 3)
    assert not {hit.subject for hits in found for hit in hits} & {f"s{number}" for number in range(60)}
    assert gallery.search("main", A, -VECTORS[[7]], 1)[0][0].face_id == "new7"
    gallery.close()


def test_files_from_a_future_that_a_restored_backup_undid_are_refused(data: Path, tmp_path: Path) -> None:
    """The record goes back to a backup; its next rows get other vectors than the files have for them."""
    backup = tmp_path / "backup.sqlite3"
    shutil.copy(data / "gallery.sqlite3", backup)
    gallery = opened(data)
    for number in range(200):
        gallery.enroll("main", f"lost{number}", [NewFace(f"lost{number}", {A: -VECTORS[number]})])
    gallery.compact()
    gallery.close()
    for file in data.glob("gallery.sqlite3*"):
        file.unlink()
    shutil.copy(backup, data / "gallery.sqlite3")
    gallery = opened(data)
    assert gallery.index.loaded.refused
    for number in range(200):
        gallery.enroll("main", f"kept{number}", [NewFace(f"kept{number}", {A: VECTORS[number][::-1].copy()})])
    gallery.compact()
    gallery.close()
    check(data, refused=0, templates=600).close()


def test_a_crash_between_a_new_file_and_the_removal_of_the_old_is_healed(data: Path, tmp_path: Path) -> None:
    shutil.copytree(data / "segments", tmp_path / "old")
    gallery = opened(data)
    for number in range(60):
        gallery.enroll("main", f"new{number}", [NewFace(f"new{number}", {A: -VECTORS[number]})])
    gallery.compact()
    gallery.close()
    for file in files(tmp_path / "old"):
        target = data / "segments" / file.parent.name / file.name
        if not target.exists():
            shutil.copy(file, target)
    (files(data)[0].parent / "half.part").write_bytes(b"half")
    check(data, refused=0, templates=460).close()
    assert not list(data.rglob("*.part"))


def test_deletion_reaches_the_files(data: Path) -> None:
    """After compaction, no file of the data directory holds a removed vector."""
    victim = VECTORS[5 * 10]
    needle = victim.astype("<f2").tobytes()

    def holders() -> list[str]:
        return [file.name for file in data.rglob("*") if file.is_file() and needle in file.read_bytes()]

    assert len(holders()) >= 2  # the record and a segment
    gallery = opened(data)
    gallery.delete_subject("main", "s10")
    gallery.compact()
    assert holders() == []  # not in the log either, while the service goes on
    gallery.close()


def test_files_of_a_deleted_collection_go_with_it(data: Path) -> None:
    gallery = opened(data)
    gallery.delete_collection("main")
    assert files(data) == []
    gallery.close()
    assert np.all([not file.is_dir() or not list(file.iterdir()) for file in (data / "segments").glob("*")])
