"""Folders of people and lists of pairs."""

from __future__ import annotations

from pathlib import Path

import pytest

from service.rollout.offline.errors import PhotographsInvalid
from service.rollout.offline.photographs import Pair, read_pairs, read_people


def people(root: Path, **counts: int) -> Path:
    for person, count in counts.items():
        (root / person).mkdir(parents=True)
        for number in range(1, count + 1):
            (root / person / f"{person}_{number:04d}.jpg").write_bytes(b"")
    return root


def test_a_folder_of_people_gives_as_many_pairs_of_each_kind(tmp_path: Path) -> None:
    found = read_people(people(tmp_path, ann=3, bob=1, eve=2))
    assert found.persons == ("ann", "ann", "ann", "bob", "eve", "eve")
    genuine = {(pair.first, pair.second) for pair in found.pairs if pair.genuine}
    assert genuine == {(0, 1), (0, 2), (1, 2), (4, 5)}
    strangers = [(pair.first, pair.second) for pair in found.pairs if not pair.genuine]
    assert len(set(strangers)) == 4
    assert all(found.persons[first] != found.persons[second] for first, second in strangers)
    assert read_people(tmp_path) == found, "the same pairs each time"


def test_a_folder_without_two_of_one_person_is_refused(tmp_path: Path) -> None:
    with pytest.raises(PhotographsInvalid, match="two photographs"):
        read_people(people(tmp_path, ann=1, bob=1))


def test_lfws_layout(tmp_path: Path) -> None:
    people(tmp_path, ann=2, bob=1)
    (tmp_path / "pairs.txt").write_text("1\nann\t1\t2\nann\t2\tbob\t1\n")
    found = read_pairs(tmp_path / "pairs.txt")
    assert found.pairs == (Pair(0, 1, True), Pair(1, 2, False))
    assert [file.name for file in found.files] == ["ann_0001.jpg", "ann_0002.jpg", "bob_0001.jpg"]
    assert found.persons == ("ann", "ann", "bob")


def test_a_list_as_csv(tmp_path: Path) -> None:
    people(tmp_path, ann=2, bob=1)
    rows = ["first,second,genuine", "ann/ann_0001.jpg,ann/ann_0002.jpg,1", "ann/ann_0001.jpg,bob/bob_0001.jpg,0"]
    (tmp_path / "pairs.csv").write_text("\n".join(rows))
    found = read_pairs(tmp_path / "pairs.csv")
    assert found.pairs == (Pair(0, 1, True), Pair(0, 2, False))
    assert found.persons is None
    (tmp_path / "spreadsheet.csv").write_text("\n".join(rows), encoding="utf-8-sig")
    assert read_pairs(tmp_path / "spreadsheet.csv") == found


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("a,b\n", "columns"),
        ("first,second,genuine\nx.jpg,y.jpg,yes\n", "1 or 0"),
        ("first,second,genuine\nx.jpg,y.jpg,1\n", "impostor"),
        ('first,second,genuine\nx.jpg,"y.jpg,1\nx.jpg,z.jpg,0\n', "line 2 begins no row of CSV"),
        ("first,second,genuine\nx.jpg,y.jpg,1\nx.jpg,z.jpg,0\n", "not there"),
        ("2\nann one two\n", "neither"),
        ("2\nann\tone\ttwo\n", "not a number"),
    ],
)
def test_a_list_that_cannot_be_used_says_why(tmp_path: Path, text: str, says: str) -> None:
    (tmp_path / "pairs").write_text(text)
    with pytest.raises(PhotographsInvalid, match=says):
        read_pairs(tmp_path / "pairs")
