"""Archives say who wrote them: with a key of the operator's, nobody else's passes, however well it is chained."""

from __future__ import annotations

import base64
from collections.abc import Iterator
from pathlib import Path

import pytest
from typer.testing import CliRunner

from service.cli import app
from service.database.encryption import Keyring
from service.gallery.archive import exports
from service.gallery.archive.exports import export, inspect
from service.gallery.archive.format import ArchiveWriter, Block, read_blocks, signer
from service.gallery.archive.imports import Rule, restore
from service.gallery.archive.signature import SigningKeys
from service.gallery.embedded import open_embedded
from service.gallery.errors import ArchiveInvalid
from service.gallery.gallery import Gallery
from service.gallery.records import NewFace
from tests.gallery.vectors import people

A = "a" * 64
OLD, NEW = (f"{name}:{base64.b64encode(bytes([number] * 32)).decode()}" for number, name in enumerate(("old", "new")))
KEYS = SigningKeys.parse(OLD)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("signed")


@pytest.fixture(scope="module")
def source(folder: Path) -> Iterator[Gallery]:
    gallery = open_embedded(folder / "data")
    gallery.create_collection("main")
    for number, vector in enumerate(people(10, 1, 16)):
        gallery.enroll("main", f"s{number}", [NewFace(f"f{number}", {A: vector})])
    yield gallery
    gallery.close()


@pytest.fixture(scope="module")
def signed(source: Gallery, folder: Path) -> Path:
    export(source.database.engine, folder / "signed.facet", keys=KEYS)
    return folder / "signed.facet"


def chained_again(blocks: list[Block], path: Path, keys: SigningKeys | None = None) -> Path:
    """An archive of these blocks with a chain that is right."""
    with ArchiveWriter(path, keys or SigningKeys.none()) as archive:
        for block in blocks:
            archive.write(block)
        archive.finish()
    return path


def test_what_the_operator_signed_is_taken_and_by_an_earlier_key_too(signed: Path) -> None:
    assert inspect(signed, KEYS).subjects == 10
    assert inspect(signed, SigningKeys.parse(f"{NEW},{OLD}")).subjects == 10
    assert inspect(signed).subjects == 10, "without a key nothing is asked for"
    assert signer(signed) == "old"


def test_an_archive_that_is_chained_again_does_not_pass_where_a_key_is_set(
    signed: Path, source: Gallery, tmp_path: Path
) -> None:
    blocks = list(read_blocks(signed))
    blocks[2]["subjects"][0]["name"] = "MASTER"
    forged = chained_again(blocks, tmp_path / "forged.facet")
    assert inspect(forged).subjects == 10, "the chain alone does not tell"
    before = source.subjects("main").items
    with pytest.raises(ArchiveInvalid, match="not signed"):
        restore(source.database, forged, Rule.REPLACE, keyring=Keyring.empty(), keys=KEYS)
    assert source.subjects("main").items == before
    for key, words in ((NEW, "FACET_ARCHIVE_KEYS lacks"), ("old:" + NEW.partition(":")[2], "without the key 'old'")):
        other = chained_again(blocks, tmp_path / f"{words[:6]}.facet", SigningKeys.parse(key))
        with pytest.raises(ArchiveInvalid, match=words):
            inspect(other, KEYS)


def test_a_signed_block_does_not_pass_in_another_archive(
    source: Gallery, signed: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(exports, "BLOCK", 5)
    export(source.database.engine, tmp_path / "halves.facet", keys=KEYS)

    class Copying(SigningKeys):
        """Signs nothing, and lets pass what was signed elsewhere."""

        def sign(self, before: bytes, text: bytes) -> bytes:
            return stolen.pop(0)

    stolen: list[bytes] = []
    kept = SigningKeys.sign

    def note(self: SigningKeys, before: bytes, text: bytes) -> bytes:
        stolen.append(kept(self, before, text))
        return stolen[-1]

    monkeypatch.setattr(SigningKeys, "sign", note)
    export(source.database.engine, tmp_path / "again.facet", keys=KEYS)
    blocks = list(read_blocks(tmp_path / "again.facet"))
    assert [block["kind"] for block in blocks] == ["head", "collection", "subjects", "subjects", "end"]
    del blocks[2], stolen[2]  # half of the people are dropped; what is left keeps its signatures
    chained_again(blocks, tmp_path / "half.facet", Copying({}))
    with pytest.raises(ArchiveInvalid, match="changed by somebody"):
        inspect(tmp_path / "half.facet", KEYS)


def test_an_interrupted_export_is_not_continued_after_what_another_left(
    source: Gallery, signed: Path, tmp_path: Path
) -> None:
    head, *rest = read_blocks(signed)
    with ArchiveWriter(tmp_path / "all.facet") as archive:
        for block in (head, *rest[:-1]):
            archive.write(block)
    with pytest.raises(ArchiveInvalid, match="not signed"):
        export(source.database.engine, tmp_path / "all.facet", keys=KEYS)
    assert not (tmp_path / "all.facet").exists()


def test_the_commands_say_whether_an_archive_is_signed(
    source: Gallery, signed: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    export(source.database.engine, tmp_path / "plain.facet")

    def facet(*words: str) -> str:
        return CliRunner().invoke(app, ["gallery", *words]).output

    assert "not signed" in facet("import", "plain.facet", "--data", "one")
    assert "signed with the key 'old', unchecked" in facet("import", str(signed), "--data", "two")
    monkeypatch.setenv("FACET_ARCHIVE_KEYS", OLD)
    assert "10 templates; signed with the key 'old'\n" in facet("import", str(signed), "--data", "three")
    assert "signed with the key 'old'\n" in facet("export", "again.facet", "--data", "three")
    assert "signed with the key 'old'\n" in facet("inspect", "again.facet")
    assert "is not signed" in facet("inspect", "plain.facet")
    assert "is not signed" in facet("import", "plain.facet", "--data", "four")
