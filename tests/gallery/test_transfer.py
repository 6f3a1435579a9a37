"""Archives: out and in again without a difference, damaged ones refused, interrupted ones continued."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import closing
from functools import partial
from pathlib import Path

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from pydantic import TypeAdapter

from service.api.schemas.requests import Metadata
from service.database.encryption import Keyring
from service.database.schema import new_id
from service.gallery.archive import exports
from service.gallery.archive.exports import Moved, export, inspect
from service.gallery.archive.format import read_blocks
from service.gallery.archive.imports import Rule, restore
from service.gallery.changes.subjects import create_subject
from service.gallery.embedded import open_embedded
from service.gallery.errors import ArchiveConflict, ArchiveInvalid
from service.gallery.gallery import Gallery
from service.gallery.records import NewFace
from tests.gallery.vectors import people

A, B = "a" * 64, "b" * 64


@pytest.fixture
def source(tmp_path: Path) -> Iterator[Gallery]:
    gallery = open_embedded(tmp_path / "source")
    gallery.create_collection("staff", keep_crops=True, metadata={"site": "north", "n": [1, {"x": None}]})
    gallery.create_collection("guests")
    gallery.create_collection("empty")
    vectors = iter(people(80, 5, 16))
    others = iter(people(80, 5, 24, seed=1))
    for number in range(40):
        faces = [
            NewFace(
                new_id(),
                {A: next(vectors)} | ({B: next(others)} if number % 3 == 0 else {}),
                {"sharpness": 0.1 + number},
                (1.5, 2.0, 30.25, 40.0),
                ((1.0, 2.0),) * 5,
                f"{number:064x}",
                bytes([number]) * 10,
            )
            for _ in range(number % 4 + 1)
        ]
        gallery.enroll("staff" if number % 2 else "guests", f"Çelik {number} 名", faces, metadata={"n": number})
    yield gallery
    gallery.close()


def content(gallery: Gallery, path: Path) -> list[object]:
    """All that an archive says, but for whose it is and at which rows it lay."""
    export(gallery.database.engine, path)
    blocks = list(read_blocks(path))
    return [{k: v for k, v in block.items() if k not in ("id", "store", "last")} for block in blocks]


def test_a_round_trip_is_identical(source: Gallery, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(exports, "BLOCK", 7)
    before = content(source, tmp_path / "a.facet")
    target = open_embedded(tmp_path / "target")
    moved = restore(target.database, tmp_path / "a.facet", Rule.STOP, keyring=Keyring.empty())
    assert (moved.collections, moved.subjects, moved.faces, moved.skipped) == (3, 40, 100, 0)
    assert content(target, tmp_path / "b.facet") == before
    assert target.verify().sound
    for collection in ("staff", "guests"):
        assert target.collection(collection) == source.collection(collection)
        for subject in source.subjects(collection).items:
            assert target.subject(collection, subject.name) == subject
            faces = source.faces(collection, subject.name).items
            assert target.faces(collection, subject.name).items == faces
            assert [target.crop(collection, f.id) for f in faces] == [source.crop(collection, f.id) for f in faces]
    probes = people(80, 5, 16)[:50]
    assert target.search("staff", A, probes, 3) == source.search("staff", A, probes, 3)
    target.close()


LARGEST = [
    pytest.param({f"{n:0100}": "名" * 1000 for n in range(50)}, id="wide"),
    pytest.param({f"{n:0100}": '"' * 1000 for n in range(50)}, id="escaped"),
    pytest.param({f"{n:0100}": 10**4000 for n in range(50)}, id="numbers"),
]


@pytest.mark.parametrize("facts", LARGEST)
def test_the_largest_facts_that_the_api_takes_go_out_and_in(tmp_path: Path, facts: dict[str, object]) -> None:
    assert TypeAdapter(Metadata).validate_python(facts) == facts
    with closing(open_embedded(tmp_path / "source")) as gallery:
        gallery.create_collection("main", metadata=facts)
        gallery.enroll("main", "ann", [NewFace("f", {A: people(1, 1, 16)[0]})], metadata=facts)
        export(gallery.database.engine, tmp_path / "a.facet")
    with closing(open_embedded(tmp_path / "target")) as gallery:
        restore(gallery.database, tmp_path / "a.facet", Rule.STOP, keyring=Keyring.empty())
        assert gallery.subject("main", "ann").metadata == facts


def test_facts_that_repeat_themselves_go_out_and_in(tmp_path: Path) -> None:
    with closing(open_embedded(tmp_path / "source")) as gallery:
        gallery.create_collection("main")
        for number in range(60):
            name = partial(create_subject, collection="main", name=f"p{number}")
            gallery.change(name)
            gallery.update_subject("main", f"p{number}", metadata={str(n): "x" * 1000 for n in range(50)})
        export(gallery.database.engine, tmp_path / "a.facet")
    assert inspect(tmp_path / "a.facet").subjects == 60


def test_a_block_holds_no_more_faces_than_can_be_read_again(
    source: Gallery, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(exports, "FACES", 5, raising=False)
    export(source.database.engine, tmp_path / "a.facet")
    blocks = [block for block in read_blocks(tmp_path / "a.facet") if block["kind"] == "subjects"]
    assert all(block["faces_count"] <= 5 for block in blocks)
    assert any(block["subjects_count"] > 1 for block in blocks)
    assert inspect(tmp_path / "a.facet").faces == 100
    monkeypatch.setattr(exports, "FACES", 1, raising=False)
    export(source.database.engine, tmp_path / "b.facet")  # of four faces each, and one subject is the least
    assert inspect(tmp_path / "b.facet").subjects == 40


def test_an_interrupted_export_goes_on_after_its_last_whole_block(
    source: Gallery, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(exports, "BLOCK", 5)
    whole = content(source, tmp_path / "whole.facet")

    class Killed(Exception):
        pass

    def stop(moved: Moved) -> None:
        if moved.subjects >= 15:
            raise Killed

    path = tmp_path / "cut.facet"
    with pytest.raises(Killed):
        export(source.database.engine, path, progress=stop)
    part = tmp_path / "cut.facet.part"
    assert part.exists()
    assert not path.exists()
    with part.open("ab") as file:
        file.write(b"half a block")
    written = part.stat().st_size
    moved = export(source.database.engine, path)
    assert path.stat().st_size > written
    assert moved.subjects == 40
    assert [{k: v for k, v in b.items() if k not in ("id", "store", "last")} for b in read_blocks(path)] == whole


def test_an_interrupted_import_goes_on_and_nothing_is_doubled(
    source: Gallery, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(exports, "BLOCK", 5)
    before = content(source, tmp_path / "a.facet")
    target = open_embedded(tmp_path / "target")

    class Killed(Exception):
        pass

    def stop(moved: Moved) -> None:
        if moved.subjects >= 20:
            raise Killed

    with pytest.raises(Killed):
        restore(target.database, tmp_path / "a.facet", Rule.STOP, progress=stop, keyring=Keyring.empty())
    target.close()
    target = open_embedded(tmp_path / "target")
    restore(target.database, tmp_path / "a.facet", Rule.STOP, keyring=Keyring.empty())  # its own half is no conflict
    assert content(target, tmp_path / "b.facet") == before
    target.close()


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(at=st.floats(0, 1, exclude_max=True), bit=st.integers(0, 7), cut=st.booleans())
def test_a_damaged_or_shortened_archive_is_refused(
    at: float, bit: int, cut: bool, archive: Path, tmp_path: Path
) -> None:
    data = bytearray(archive.read_bytes())
    place = int(at * len(data))
    if cut:
        data = data[:place]
    else:
        data[place] ^= 1 << bit
    damaged = tmp_path / "damaged.facet"
    damaged.write_bytes(data)
    with pytest.raises(ArchiveInvalid):
        inspect(damaged)


@pytest.fixture
def archive(source: Gallery, tmp_path: Path) -> Path:
    export(source.database.engine, tmp_path / "good.facet")
    return tmp_path / "good.facet"


def test_a_damaged_archive_changes_nothing(archive: Path, tmp_path: Path) -> None:
    archive.write_bytes(archive.read_bytes()[:-1])
    target = open_embedded(tmp_path / "target")
    with pytest.raises(ArchiveInvalid):
        restore(target.database, archive, Rule.REPLACE, keyring=Keyring.empty())
    assert target.collections().items == ()
    target.close()


def test_conflict_rules(source: Gallery, archive: Path) -> None:
    name = source.subjects("guests").items[0].name
    kept = source.subject("guests", name)
    gone = source.subjects("guests").items[1].name
    own = source.faces("guests", name).items[0].id
    source.delete_face("guests", own)
    source.enroll("guests", name, [NewFace("mine", {A: people(1, 1, 16, seed=9)[0]})], metadata={"n": "changed"})
    source.delete_subject("guests", gone)
    source.update_subject("staff", source.subjects("staff").items[0].name, new_name="renamed")

    with pytest.raises(ArchiveConflict, match="already"):
        restore(source.database, archive, Rule.STOP, keyring=Keyring.empty())

    restore(source.database, archive, Rule.SKIP, keyring=Keyring.empty())
    assert source.subject("guests", name).metadata == {"n": "changed"}
    assert [face.id for face in source.faces("guests", name).items] == ["mine"]
    assert source.subject("guests", gone).faces > 0
    assert source.subject("staff", "renamed").faces > 0  # the same person under a new name is not doubled

    moved = restore(source.database, archive, Rule.MERGE, keyring=Keyring.empty())
    assert moved.faces == 1
    assert {face.id for face in source.faces("guests", name).items} == {"mine", own}
    assert source.subject("guests", name).metadata == {"n": "changed"}

    restore(source.database, archive, Rule.REPLACE, keyring=Keyring.empty())
    assert source.subject("guests", name).metadata == kept.metadata
    assert [face.id for face in source.faces("guests", name).items] == [own]
    assert "renamed" not in {subject.name for subject in source.subjects("staff").items}
    report = source.verify()
    assert report.problems == ()
    assert report.templates == inspect(archive).templates


def test_people_who_got_each_other_s_names_since_are_replaced(source: Gallery, archive: Path) -> None:
    one, two = (subject.name for subject in source.subjects("guests").items[:2])
    before = {name: source.subject("guests", name) for name in (one, two)}
    for old, new in ((one, "between"), (two, one), ("between", two)):
        source.update_subject("guests", old, new_name=new)
    restore(source.database, archive, Rule.REPLACE, keyring=Keyring.empty())
    assert {name: source.subject("guests", name) for name in (one, two)} == before
    source.delete_subject("guests", two)
    source.update_subject("guests", one, new_name=two)
    restore(source.database, archive, Rule.REPLACE, keyring=Keyring.empty())
    assert {name: source.subject("guests", name) for name in (one, two)} == before
    assert source.verify().sound


def test_an_archive_of_other_dimensions_is_refused(archive: Path, tmp_path: Path) -> None:
    target = open_embedded(tmp_path / "target")
    target.create_collection("mine")
    target.enroll("mine", "someone", [NewFace(new_id(), {A: np.eye(8, dtype=np.float32)[0]})])
    with pytest.raises(ArchiveInvalid, match="dimensions"):
        restore(target.database, archive, Rule.SKIP, keyring=Keyring.empty())
    assert target.verify().sound
    target.close()


@pytest.mark.parametrize(("magic", "word"), [(b"facet archive 9\n", "version"), (b"PK\x03\x04", "something else")])
def test_another_version_or_file_is_named(magic: bytes, word: str, tmp_path: Path) -> None:
    (tmp_path / "x").write_bytes(magic + bytes(100))
    with pytest.raises(ArchiveInvalid, match=word):
        inspect(tmp_path / "x")
