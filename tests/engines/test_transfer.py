"""Out of every kind of gallery and into every other: the same people, to the times and ids."""

from __future__ import annotations

from contextlib import closing
from itertools import product
from pathlib import Path
from typing import Any

import pytest

from service.database.encryption import Keyring
from service.gallery.archive import exports, imports
from service.gallery.archive.format import read_blocks
from service.gallery.gallery import Gallery
from service.gallery.records import NewFace
from tests.engines.conftest import KINDS, Places
from tests.gallery.vectors import people

pytestmark = pytest.mark.engines
A, B = "a" * 64, "b" * 64
VECTORS, OTHERS = people(60, 2, 32), people(60, 2, 24, seed=3)


def fill(gallery: Gallery) -> None:
    gallery.create_collection("main", metadata={"site": 1})
    gallery.create_collection("keeping", keep_crops=True)
    for number in range(60):
        faces = [
            NewFace(
                f"f{at}",
                {A: VECTORS[at], B: OTHERS[at]},
                {"sharpness": 0.25},
                (1, 2, 3, 4),
                ((0.5, 1),) * 5,
                "ab",
                b"png",
            )
            for at in (2 * number, 2 * number + 1)
        ]
        gallery.enroll("keeping" if number % 3 == 0 else "main", f"s{number}", faces, metadata={"n": number})


def content(gallery: Gallery, file: Path) -> list[dict[str, Any]]:
    """All blocks of an export, without what names the store it came from and the rows it had there."""
    exports.export(gallery.database.engine, file)
    return [{key: value for key, value in block.items() if key != "last"} for block in read_blocks(file)][1:]


@pytest.mark.parametrize(("source", "target"), list(product(KINDS, KINDS)))
def test_a_round_trip_is_identical(places: Places, tmp_path: Path, source: str, target: str) -> None:
    with closing(places(source)()) as first, closing(places(target)()) as second:
        fill(first)
        before = content(first, tmp_path / "first")
        moved = imports.restore(second.database, tmp_path / "first", imports.Rule.STOP, keyring=Keyring.empty())
        assert (moved.subjects, moved.faces, moved.templates) == (60, 120, 240)
        assert content(second, tmp_path / "second") == before
        assert second.verify().problems == ()
        for at in (0, 41, 119):
            inside = "keeping" if (at // 2) % 3 == 0 else "main"
            (hit,) = second.search(inside, A, VECTORS[at][None], 1)[0]
            assert (hit.subject, hit.face_id) == (f"s{at // 2}", f"f{at}")
        again = imports.restore(second.database, tmp_path / "first", imports.Rule.REPLACE, keyring=Keyring.empty())
        assert again.faces == 120
        assert content(second, tmp_path / "third") == before
        assert second.verify().problems == ()


@pytest.mark.parametrize("kind", ["embedded", "pgvector"])
def test_a_face_that_is_enrolled_meanwhile_is_exported_with_its_templates_or_not_at_all(
    places: Places, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, kind: str
) -> None:
    with closing(places(kind)()) as gallery:
        gallery.create_collection("main")
        gallery.enroll("main", "ann", [NewFace("first", {A: VECTORS[0]})])
        read = exports.TemplateReader.read
        late = [NewFace("late", {A: VECTORS[1]})]

        def read_late(reader: Any, *given: Any) -> Any:
            if late:
                gallery.enroll("main", "ann", [late.pop()])
            return read(reader, *given)

        monkeypatch.setattr(exports.TemplateReader, "read", read_late)
        *_, people_block, _ = content(gallery, tmp_path / "beside")
        assert not late
        faces = people_block["subjects"][0]["faces"]
        assert [face["id"] for face in faces if not face["templates"]] == []
