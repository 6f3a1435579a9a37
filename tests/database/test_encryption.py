"""Encryption at rest: nothing in the clear on disk, nothing read without the key, rotation without a pause."""

from __future__ import annotations

import base64
import os
from pathlib import Path

import pytest
import sqlalchemy as sa

from service.database.encryption import Keyring
from service.database.errors import KeyMissing, StorageUnavailable
from service.database.schema import crops, templates
from service.gallery.archive.exports import export, inspect
from service.gallery.archive.imports import Rule, restore
from service.gallery.embedded import open_embedded
from service.gallery.gallery import Gallery
from service.gallery.maintenance.resealing import reseal
from service.gallery.records import NewFace
from service.index.embedded.tiered import Tiers
from tests.gallery.vectors import people

A = "a" * 64
VECTORS = people(40, 5, 32)
TIERS = Tiers(exact=100, fresh=40, segment=300)
CROP = b"the aligned crop of one face, as a file"
OLD, NEW = (f"{name}:{base64.b64encode(os.urandom(32)).decode()}" for name in ("old", "new"))


def opened(directory: Path, keys: str) -> Gallery:
    return open_embedded(directory, tiers=TIERS, keyring=Keyring.parse(keys))


def fill(gallery: Gallery) -> None:
    gallery.create_collection("main", keep_crops=True)
    for number in range(40):
        faces = [NewFace(f"{number}-{at}", {A: VECTORS[5 * number + at]}, crop=CROP) for at in range(5)]
        gallery.enroll("main", f"s{number}", faces)
    gallery.compact()


def plain_on_disk(directory: Path) -> set[str]:
    """Files that hold some template or the crop in the clear."""
    needles = [CROP, *(VECTORS[at].astype("<f2").tobytes() for at in (0, 77, 199))]
    held = {file: file.read_bytes() for file in directory.rglob("*") if file.is_file()}
    return {file.suffix for file, content in held.items() if any(needle in content for needle in needles)}


def check(gallery: Gallery) -> None:
    assert gallery.search("main", A, VECTORS[[77]], 1)[0][0].face_id == "15-2"
    assert gallery.compare("main", "s15", A, VECTORS[77]).face_id == "15-2"
    assert gallery.crop("main", "15-2") == CROP
    assert gallery.verify().problems == ()


def test_sealed_values_are_nowhere_in_the_clear_and_work_as_before(tmp_path: Path) -> None:
    gallery = opened(tmp_path, OLD)
    fill(gallery)
    check(gallery)
    assert plain_on_disk(tmp_path) == set()
    gallery.close()
    gallery = opened(tmp_path, OLD)
    assert gallery.index.loaded.from_files > 0
    assert gallery.index.loaded.refused == ()
    check(gallery)
    gallery.close()
    with pytest.raises(KeyMissing, match="'old'"):
        opened(tmp_path, NEW)
    same_id = f"old:{base64.b64encode(os.urandom(32)).decode()}"
    with pytest.raises(StorageUnavailable, match="'old'"):
        opened(tmp_path, same_id)


def test_rotation_from_clear_to_one_key_to_the_next_and_out_again(tmp_path: Path) -> None:
    gallery = opened(tmp_path, "")
    fill(gallery)
    assert plain_on_disk(tmp_path) >= {".sqlite3", ".segment"}
    gallery.close()
    for keys, expected in ((OLD, 400), (f"{NEW},{OLD}", 400), (f"none,{NEW}", 400)):
        gallery = opened(tmp_path, keys)
        told: list[int] = []
        assert reseal(gallery, Keyring.parse(keys), told.append) == expected
        assert told[-1] == expected
        check(gallery)
        if not keys.startswith("none"):
            assert plain_on_disk(tmp_path) == set()
        assert reseal(gallery, Keyring.parse(keys)) == 0
        gallery.close()
        gallery = opened(tmp_path, keys.split(",")[0])  # the old key is needed no more
        assert gallery.index.loaded.refused == ()
        assert gallery.index.loaded.from_files > 0
        check(gallery)
        gallery.close()


def test_a_sealed_value_moved_to_another_face_does_not_open(tmp_path: Path) -> None:
    gallery = opened(tmp_path, OLD)
    fill(gallery)

    def swap(connection: sa.Connection) -> None:
        for table, key, value in ((templates, templates.c.row, "vector"), (crops, crops.c.face_row, "data")):
            first = connection.execute(sa.select(table).order_by(key).limit(1)).one()
            stolen = sa.select(table.c[value]).order_by(key).offset(7).limit(1)
            changed = sa.update(table).where(key == getattr(first, key.name))
            connection.execute(changed.values(**{value: connection.scalar(stolen)}))

    gallery.database.write(swap)
    assert gallery.compare("main", "s0", A, VECTORS[0]).face_id != "0-0"
    assert any("face 0-0 of" in problem for problem in gallery.verify().problems)
    with pytest.raises(StorageUnavailable, match="does not open"):
        gallery.crop("main", "0-0")
    gallery.close()


def test_an_archive_crosses_from_sealed_to_sealed_under_another_key(tmp_path: Path) -> None:
    source = opened(tmp_path / "source", OLD)
    fill(source)
    with pytest.raises(KeyMissing):
        export(source.database.engine, tmp_path / "blind.facet")
    export(source.database.engine, tmp_path / "a.facet", keyring=Keyring.parse(OLD))
    source.close()
    target = opened(tmp_path / "target", NEW)
    restore(target.database, tmp_path / "a.facet", Rule.STOP, keyring=Keyring.parse(NEW))
    target.compact()
    check(target)
    assert plain_on_disk(tmp_path / "target") == set()
    assert inspect(tmp_path / "a.facet").templates == 200
    target.close()


@pytest.mark.parametrize(
    "text", ["x", "a:", "a:AAAA", ":" + OLD, OLD + "," + OLD, "a b:" + OLD[4:], "none:" + OLD[4:]], ids=range(7)
)
def test_keys_that_cannot_be_used_are_named_by_number_only(text: str) -> None:
    with pytest.raises(ValueError, match=r"template key [12]") as refused:
        Keyring.parse(text)
    assert OLD[4:] not in str(refused.value)


def test_no_key_seals_nothing() -> None:
    keyring = Keyring.parse("")
    assert keyring.seal(b"x", b"") == (b"x", None)
    assert keyring.open(b"x", None, b"") == b"x"
