"""A template that is not what was stored matches nobody, is counted and named, whoever or whatever changed it."""

from __future__ import annotations

import base64
import hashlib
import json
import os
import struct
import zlib
from collections.abc import Callable
from contextlib import closing
from pathlib import Path

import numpy as np
import pytest
import sqlalchemy as sa

from service.database.encryption import Keyring
from service.database.errors import TemplateDamaged
from service.database.schema import faces, models, subjects, templates
from service.database.template_seal import checksum_of, place_of
from service.gallery.archive.exports import export, inspect
from service.gallery.archive.format import DIGEST_SIZE, LENGTH_SIZE, MAGIC, read_blocks
from service.gallery.archive.imports import Rule, restore
from service.gallery.embedded import open_embedded
from service.gallery.errors import ArchiveInvalid
from service.gallery.gallery import Gallery
from service.gallery.records import NewFace
from service.index import vectors
from service.index.embedded.tiered import Tiers
from service.index.errors import ScoreInvalid
from tests.gallery.vectors import people, unit

A = "a" * 64
DIM = 32
TIERS = Tiers(exact=20, fresh=8, segment=64)
PERSONS = people(8, 4, DIM)
STRANGERS = unit(np.random.default_rng(5).standard_normal((40, DIM)))
KEYS = {"clear": "", "sealed": f"k:{base64.b64encode(os.urandom(32)).decode()}"}


def opened(directory: Path, keys: str = "") -> Gallery:
    return open_embedded(directory, tiers=TIERS, keyring=Keyring.parse(keys))


@pytest.fixture(params=["clear", "sealed"])
def keys(request: pytest.FixtureRequest) -> str:
    return KEYS[request.param]


@pytest.fixture
def folder(tmp_path: Path, keys: str) -> Path:
    """Eight people of four faces each, some of them in a segment file."""
    with closing(opened(tmp_path / "data", keys)) as gallery:
        gallery.create_collection("main")
        for number in range(8):
            new = [NewFace(f"{number}-{at}", {A: PERSONS[4 * number + at]}) for at in range(4)]
            gallery.enroll("main", f"p{number}", new)
        gallery.compact()
    assert list((tmp_path / "data").rglob("*.segment"))
    return tmp_path / "data"


def alter(folder: Path, keys: str, change: Callable[[sa.Connection], None]) -> None:
    with closing(opened(folder, keys)) as gallery:
        gallery.database.write(change)


def row_of(face: str) -> sa.ScalarSelect[int]:
    return (
        sa.select(templates.c.row)
        .join(faces, templates.c.face_row == faces.c.row)
        .where(faces.c.id == face)
        .scalar_subquery()
    )


def write(face: str, edit: Callable[[bytearray], None]) -> Callable[[sa.Connection], None]:
    def change(connection: sa.Connection) -> None:
        row = connection.scalar(sa.select(row_of(face)))
        value = bytearray(connection.scalar(sa.select(templates.c.vector).where(templates.c.row == row)))
        edit(value)
        connection.execute(sa.update(templates).where(templates.c.row == row).values(vector=bytes(value)))

    return change


def flip(value: bytearray) -> None:
    largest = int(np.abs(np.frombuffer(bytes(value[: 2 * DIM]), "<f2").astype(np.float32)).argmax())
    value[2 * largest + 1] ^= 0x40


def spoil(value: bytearray) -> None:
    value[:2] = b"\xff\x7f"


@pytest.mark.parametrize("edit", [flip, spoil, lambda value: value.clear()], ids=["bit", "nan", "empty"])
def test_a_changed_template_is_left_out_named_and_counted(
    folder: Path, keys: str, edit: Callable[[bytearray], None]
) -> None:
    for at in range(4):
        alter(folder, keys, write(f"0-{at}", edit))
    with closing(opened(folder, keys)) as gallery:
        for probe in (*STRANGERS, *PERSONS[:4]):
            found = gallery.search("main", A, probe[None], 8)[0]
            assert all(-1 <= hit.score < 0.9 for hit in found), found
            assert "p0" not in {hit.subject for hit in found}
        with pytest.raises(TemplateDamaged):
            gallery.compare("main", "p0", A, STRANGERS[0])
        assert gallery.search("main", A, PERSONS[4:5], 1)[0][0].subject == "p1"
        assert [face.id for face in gallery.faces("main", "p0").items] == [f"0-{at}" for at in range(4)]
        problems = gallery.verify().problems
        assert all(any(f"face 0-{at} of subject" in problem for problem in problems) for at in range(4))
        assert gallery.damaged == 4
        gallery.delete_subject("main", "p0")
        assert gallery.verify().problems == ()


def test_a_person_with_one_sound_face_is_compared_with_that_one(folder: Path, keys: str) -> None:
    alter(folder, keys, write("0-0", flip))
    with closing(opened(folder, keys)) as gallery:
        assert gallery.compare("main", "p0", A, PERSONS[1]).face_id == "0-1"
        assert gallery.compare("main", "p0", A, PERSONS[0]).score < 0.9


def test_a_face_moved_to_another_person_matches_nobody(folder: Path, keys: str) -> None:
    def move(connection: sa.Connection) -> None:
        victim = connection.scalar(sa.select(subjects.c.row).where(subjects.c.name == "p1"))
        moved = sa.select(templates.c.face_row).where(templates.c.row == row_of("0-0")).scalar_subquery()
        connection.execute(sa.update(templates).where(templates.c.face_row == moved).values(subject_row=victim))
        connection.execute(sa.update(faces).where(faces.c.id == "0-0").values(subject_row=victim))

    alter(folder, keys, move)
    with closing(opened(folder, keys)) as gallery:
        assert gallery.compare("main", "p1", A, PERSONS[0]).score < 0.9
        assert gallery.search("main", A, PERSONS[:1], 1)[0][0].face_id != "0-0"
        assert any("face 0-0 of" in problem for problem in gallery.verify().problems)


def test_persons_swapped_under_their_faces_are_found(folder: Path, keys: str) -> None:
    def swap(connection: sa.Connection) -> None:
        first, second = connection.scalars(sa.select(subjects.c.row).order_by(subjects.c.row).limit(2)).all()
        for table in (faces, templates):
            other = sa.case((table.c.subject_row == first, second), else_=first)
            change = sa.update(table).where(table.c.subject_row.in_((first, second)))
            connection.execute(change.values(subject_row=other))

    alter(folder, keys, swap)
    with closing(opened(folder, keys)) as gallery:
        with pytest.raises(TemplateDamaged):
            gallery.compare("main", "p1", A, PERSONS[0])
        assert len([problem for problem in gallery.verify().problems if "left out" in problem]) == 8


@pytest.mark.parametrize("keys", [KEYS["sealed"]], ids=["sealed"])
def test_a_sealed_template_opens_nowhere_else_whatever_its_checksum_says(folder: Path, keys: str) -> None:
    def move(connection: sa.Connection) -> None:
        victim = connection.scalar(sa.select(subjects.c.row).where(subjects.c.name == "p1"))
        connection.execute(sa.update(faces).where(faces.c.id == "0-0").values(subject_row=victim))
        row = connection.scalar(sa.select(row_of("0-0")))
        connection.execute(sa.update(templates).where(templates.c.row == row).values(subject_row=victim))
        entry = connection.execute(sa.select(templates).where(templates.c.row == row)).one()
        good = checksum_of(entry.vector, entry.key_id, place_of(entry))
        connection.execute(sa.update(templates).where(templates.c.row == row).values(checksum=good))

    alter(folder, keys, move)
    with closing(opened(folder, keys)) as gallery:
        assert gallery.compare("main", "p1", A, PERSONS[0]).score < 0.9
        assert any("face 0-0 of" in problem for problem in gallery.verify().problems)


def test_templates_sealed_before_they_were_bound_to_a_person_are_bound_at_the_start(tmp_path: Path) -> None:
    keys = KEYS["sealed"]
    with closing(opened(tmp_path, keys)) as gallery:
        gallery.create_collection("main")
        gallery.enroll("main", "p0", [NewFace("0-0", {A: PERSONS[0]})])
        keyring = Keyring.parse(keys)

        def as_before(connection: sa.Connection) -> None:
            entry = connection.execute(sa.select(templates)).one()
            place = struct.pack(">8sqq", b"template", entry.face_row, entry.model_row)
            value, _ = keyring.seal(vectors.pack(PERSONS[0]), place)
            connection.execute(sa.update(templates).values(vector=value, checksum=None))
            connection.execute(sa.text("DELETE FROM store WHERE name = 'templates:bound'"))

        gallery.database.write(as_before)
    with closing(opened(tmp_path, keys)) as gallery:
        assert gallery.compare("main", "p0", A, PERSONS[0]).score > 0.99
        assert gallery.verify().sound
        assert gallery.damaged == 0


def test_an_index_that_disagrees_with_the_record_matches_nobody(folder: Path) -> None:
    """A segment file changed and given a right digest again: scores come from the record, whatever it found."""
    for file in folder.rglob("*.segment"):
        content = file.read_bytes()[:-DIGEST_SIZE]
        place = content.find(vectors.pack(PERSONS[0]))
        if place < 0:  # sealed
            return
        content = content[:place] + vectors.pack(STRANGERS[0]) + content[place + 2 * DIM :]
        file.write_bytes(content + hashlib.sha256(content).digest())
    with closing(opened(folder)) as gallery:
        assert gallery.index.loaded.refused == ()
        assert all(hit.score < 0.9 for hit in gallery.search("main", A, STRANGERS[:1], 8)[0])
        assert not gallery.verify().sound


def test_a_segment_with_a_long_vector_is_refused(folder: Path) -> None:
    for file in folder.rglob("*.segment"):
        content = file.read_bytes()[:-DIGEST_SIZE]
        place = content.find(vectors.pack(PERSONS[0]))
        if place < 0:
            return
        content = content[:place] + vectors.pack(300 * PERSONS[0]) + content[place + 2 * DIM :]
        file.write_bytes(content + hashlib.sha256(content).digest())
    with closing(opened(folder)) as gallery:
        assert len(gallery.index.loaded.refused) == 1
        assert gallery.verify().sound


# ---- archives


def chained(blocks: list[dict[str, object]], path: Path) -> Path:
    """An archive whose chain is right, whatever its blocks hold."""
    digest, content = bytes(DIGEST_SIZE), MAGIC
    for block in blocks:
        payload = zlib.compress(json.dumps(block).encode(), 1)
        digest = hashlib.sha256(digest + payload).digest()
        content += len(payload).to_bytes(LENGTH_SIZE, "big") + digest + payload
    path.write_bytes(content)
    return path


BAD = {
    "long": vectors.pack(300 * PERSONS[0]),
    "nan": b"\xff\x7f" * DIM,
    "infinite": b"\x00\x7c" * DIM,
    "zero": bytes(2 * DIM),
    "empty": b"",
    "odd": bytes(2 * DIM - 1),
}


@pytest.mark.parametrize("kind", BAD)
def test_an_archive_with_a_vector_that_is_no_unit_changes_nothing(tmp_path: Path, kind: str) -> None:
    with closing(opened(tmp_path / "source")) as gallery:
        gallery.create_collection("main")
        gallery.enroll("main", "p0", [NewFace("0-0", {A: PERSONS[0]})])
        export(gallery.database.engine, tmp_path / "good.facet")
    blocks = list(read_blocks(tmp_path / "good.facet"))
    blocks[2]["subjects"][0]["faces"][0]["templates"][A] = base64.b64encode(BAD[kind]).decode()
    archive = chained(blocks, tmp_path / "bad.facet")
    with pytest.raises(ArchiveInvalid, match="cannot be taken in"):
        inspect(archive)
    with closing(opened(tmp_path / "target")) as gallery:
        with pytest.raises(ArchiveInvalid, match="cannot be taken in"):
            restore(gallery.database, archive, Rule.STOP, keyring=Keyring.empty())
        assert gallery.collections().items == ()
        assert gallery.database.read(lambda connection: connection.execute(sa.select(models)).all()) == []


HEAD = {"kind": "head", "id": "x", "store": "s", "collections": ["main"]}
COLLECTION = {
    "kind": "collection",
    "name": "main",
    "keep_crops": False,
    "metadata": {},
    "created_at": "2026-01-01T00:00:00+00:00",
}
END = {"kind": "end", "collections": 1, "subjects": 0, "faces": 0, "templates": 0}


def deep(levels: int) -> dict[str, object]:
    value: dict[str, object] = {}
    for _ in range(levels):
        value = {"x": value}
    return value


@pytest.mark.parametrize(
    "blocks",
    [
        [COLLECTION, END],
        [{"kind": "head"}, COLLECTION, END],
        [HEAD, COLLECTION | {"created_at": "yesterday"}, END],
        [HEAD, COLLECTION | {"created_at": 2030}, END],
        [HEAD, COLLECTION | {"created_at": "1700000000"}, END],
        [HEAD, COLLECTION | {"created_at": "2026-01-01T00:00:00"}, END],
        [HEAD, COLLECTION | {"created_at": "9999-12-31T23:59:59-12:00"}, END],
        [HEAD, COLLECTION | {"keep_crops": "yes"}, END],
        [HEAD, COLLECTION | {"name": "../../x"}, END],
        [HEAD, COLLECTION | {"name": ".."}, END],
        [HEAD, COLLECTION | {"name": "x" * 201}, END],
        [HEAD, COLLECTION | {"metadata": {"x": "y" * 100_000}}, END],
        [HEAD, COLLECTION | {"metadata": deep(50)}, END],
        [HEAD, COLLECTION | {"metadata": {"x": float("nan")}}, END],
        [HEAD, [1, 2, 3], END],
        [HEAD, {"kind": "other"}, END],
    ],
    ids=[
        "no head",
        "empty head",
        "time",
        "number for a time",
        "number as text",
        "no zone",
        "beyond the calendar",
        "text for a truth",
        "slashes",
        "dots",
        "long name",
        "long metadata",
        "deep metadata",
        "no number",
        "list",
        "kind",
    ],
)
def test_an_archive_that_no_export_writes_is_refused_in_words(tmp_path: Path, blocks: list[dict[str, object]]) -> None:
    with pytest.raises(ArchiveInvalid):
        inspect(chained(blocks, tmp_path / "bad.facet"))


FACE: dict[str, object] = {
    "id": "f",
    "created_at": "2026-01-01T00:00:00+00:00",
    "quality": {},
    "box": [],
    "landmarks": [],
    "source_sha256": "",
    "templates": {A: base64.b64encode(vectors.pack(PERSONS[0])).decode()},
    "crop": None,
}


def person(id_: str, name: str, *faces_: str) -> dict[str, object]:
    at = "2026-01-01T00:00:00+00:00"
    own = [FACE | {"id": face} for face in faces_]
    return {"id": id_, "name": name, "metadata": {}, "created_at": at, "updated_at": at, "faces": own}


@pytest.mark.parametrize(
    "people_",
    [
        [person("1", "ann"), person("1", "bea")],
        [person("1", "ann"), person("2", "ann")],
        [person("1", "\u00e9"), person("2", "e\u0301")],
        [person("1", "ann", "f", "f")],
        [person("1", "ann", "f"), person("2", "bea", "f")],
    ],
    ids=["person", "name", "spelling", "face", "face of two"],
)
def test_an_archive_that_gives_a_name_or_an_id_twice_is_refused_in_words(
    tmp_path: Path, people_: list[dict[str, object]]
) -> None:
    count = sum(len(each["faces"]) for each in people_)  # type: ignore[arg-type]
    counts = {"subjects_count": len(people_), "faces_count": count, "templates_count": count}
    block = {"kind": "subjects", "collection": "main", "last": 1, **counts, "subjects": people_}
    end = END | {"subjects": len(people_), "faces": count, "templates": count}
    archive = chained([HEAD, COLLECTION, block, end], tmp_path / "bad.facet")
    with pytest.raises(ArchiveInvalid, match="gives one name or one id"):
        inspect(archive)


@pytest.mark.parametrize(
    "payload",
    [zlib.compress(bytes(100 << 20), 9), b"no zlib at all", zlib.compress(b"[" * 200_000), zlib.compress(b"\xff\xfe")],
    ids=["bomb", "no zlib", "deep", "no text"],
)
def test_a_block_that_cannot_be_read_is_refused_in_words(tmp_path: Path, payload: bytes) -> None:
    chain = hashlib.sha256(bytes(DIGEST_SIZE) + payload).digest()
    (tmp_path / "bad.facet").write_bytes(MAGIC + len(payload).to_bytes(LENGTH_SIZE, "big") + chain + payload)
    with pytest.raises(ArchiveInvalid):
        inspect(tmp_path / "bad.facet")


# ---- scores


@pytest.mark.parametrize("score", [float("nan"), float("inf"), float("-inf"), 1.5, -3.0])
def test_a_score_that_is_none_is_an_error(score: float) -> None:
    with pytest.raises(ScoreInvalid):
        vectors.score(score)


def test_rounding_beyond_one_is_one() -> None:
    assert vectors.score(1.0004) == 1.0
    assert vectors.score(-0.3) == -0.3
