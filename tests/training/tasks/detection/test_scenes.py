from pathlib import Path

import pytest

from training.errors import SetInvalid, SetMissing
from training.tasks.detection.scenes import hold_out, hold_out_folders, list_images, read_bgr

FILES = tuple(Path(f"/scenes/{number:04}.jpg") for number in range(300))


def test_holding_out_does_not_depend_on_order_or_folder() -> None:
    kept, held = hold_out(FILES, 60)
    assert len(held) == 60
    assert sorted(kept + held) == sorted(FILES)
    assert hold_out(FILES[::-1], 60) == (kept, held)
    elsewhere = tuple(Path("/moved") / file.name for file in FILES)
    assert [file.name for file in hold_out(elsewhere, 60)[1]] == [file.name for file in held]


def test_people_are_held_out_whole() -> None:
    files = tuple(Path(f"/people/{person:03}/{number}.jpg") for person in range(200) for number in range(3))
    kept, held = hold_out_folders(files, 10)
    assert not {file.parent for file in kept} & {file.parent for file in held}
    assert sorted(kept + held) == sorted(files)
    assert 30 < len(held) < 110


def test_listing_a_folder_without_pictures(tmp_path: Path) -> None:
    (tmp_path / "notes.txt").write_text("nothing here")
    with pytest.raises(SetMissing, match="images"):
        list_images(tmp_path)
    with pytest.raises(SetMissing):
        list_images(tmp_path / "missing")


def test_listing_is_sorted_and_reading_is_bgr(photographs: Path) -> None:
    files = list_images(photographs / "scenes")
    assert [file.name for file in files] == ["admiral.png", "astronaut.png"]
    suit = read_bgr(files[1])[200:, 60:110].reshape(-1, 3).mean(0)
    assert suit[2] > suit[0] + 10  # an orange suit: more red than blue, and red comes last


def test_a_broken_file(tmp_path: Path) -> None:
    (tmp_path / "x.jpg").write_bytes(b"\xff\xd8 cut short")
    with pytest.raises(SetInvalid, match=r"x\.jpg"):
        read_bgr(tmp_path / "x.jpg")
