"""Folders that are written whole, and what lies where they are to be written."""

from pathlib import Path

import pytest

from training.atomic_folder import whole_folder
from training.errors import FolderTaken


def write(folder: Path, text: str) -> None:
    with whole_folder(folder, "set.json") as draft:
        (draft / "set.json").write_text(text)


def test_a_folder_of_its_kind_is_replaced_and_an_empty_one_is_filled(tmp_path: Path) -> None:
    (tmp_path / "mine").mkdir()
    for text in ("first", "second"):
        write(tmp_path / "mine", text)
        assert [(path.name, path.read_text()) for path in (tmp_path / "mine").iterdir()] == [("set.json", text)]
    assert [path.name for path in tmp_path.iterdir()] == ["mine"]


def test_what_a_person_keeps_there_is_not_lost(tmp_path: Path) -> None:
    (tmp_path / "photos").mkdir()
    (tmp_path / "photos" / "1.jpg").write_bytes(b"dear")
    (tmp_path / "notes").write_text("dear")
    for name in ("photos", "notes"):
        with pytest.raises(FolderTaken, match=r"holds no set\.json"):
            write(tmp_path / name, "new")
    assert (tmp_path / "photos" / "1.jpg").read_bytes() == b"dear"
    assert (tmp_path / "notes").read_text() == "dear"
    assert len(list(tmp_path.iterdir())) == 2
