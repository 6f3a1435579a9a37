"""What a report is made from: folders, protocols, and groups from CSV."""

from __future__ import annotations

from pathlib import Path

import pytest

from service.report.study import FOLDER, add_attributes, count_contradictions, read_folder, read_protocol
from service.rollout.offline.errors import PhotographsInvalid


def touch(root: Path, *names: str) -> Path:
    for name in names:
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).touch()
    return root


def test_people_may_have_one_photograph_each(tmp_path: Path) -> None:
    study = read_folder(touch(tmp_path, "a/1.jpg", "b/1.png", "b/notes.txt", "stray.jpg"))
    assert (study.ids, study.persons, study.named, study.groups) == (("a/1.jpg", "b/1.png"), ("a", "b"), True, {})


def test_folders_above_people_are_groups(tmp_path: Path) -> None:
    study = read_folder(touch(tmp_path, "x/a/1.jpg", "x/a/2.jpg", "y/a/1.jpg"), grouped=True)
    assert study.persons == ("x/a", "x/a", "y/a"), "a name in two groups is two people"
    assert study.groups == {FOLDER: ("x", "x", "y")}


def test_what_is_no_folder_of_people_is_refused(tmp_path: Path) -> None:
    with pytest.raises(PhotographsInvalid, match="folder for each person"):
        read_folder(touch(tmp_path, "1.jpg", "2.jpg"))
    with pytest.raises(PhotographsInvalid, match="folder for each group"):
        read_folder(touch(tmp_path, "a/1.jpg", "a/2.jpg"), grouped=True)


def test_photographs_that_genuine_pairs_join_are_one_persons(tmp_path: Path) -> None:
    touch(tmp_path, *(f"{name}.jpg" for name in "abcdef"))
    pairs = tmp_path / "pairs.csv"
    rows = ["a.jpg,b.jpg,1", "b.jpg,c.jpg,1", "d.jpg,e.jpg,1", "a.jpg,d.jpg,0", "a.jpg,c.jpg,0", "e.jpg,f.jpg,0"]
    pairs.write_text("\n".join(["first,second,genuine", *rows]))
    study = read_protocol(pairs)
    of = dict(zip(study.ids, study.persons, strict=True))
    assert of["a.jpg"] == of["b.jpg"] == of["c.jpg"]
    assert of["d.jpg"] == of["e.jpg"]
    assert len(set(of.values())) == 3
    assert not study.named
    assert count_contradictions(study) == 1, "a and c are one person's by way of b"


def test_lfws_layout_names_people(tmp_path: Path) -> None:
    touch(tmp_path, "ann/ann_0001.jpg", "ann/ann_0002.jpg", "bob/bob_0001.jpg")
    pairs = tmp_path / "pairs.txt"
    pairs.write_text("1\nann\t1\t2\nann\t1\tbob\t1\n")
    study = read_protocol(pairs)
    assert study.named
    assert study.persons == ("ann", "ann", "bob")


@pytest.mark.parametrize("key", ["person", "file"])
def test_groups_come_from_columns(tmp_path: Path, key: str) -> None:
    study = read_folder(touch(tmp_path, "a/1.jpg", "b/1.jpg", "c/1.jpg"))
    table = tmp_path / "groups.csv"
    names = ["a", "b"] if key == "person" else ["a/1.jpg", "b/1.jpg"]
    table.write_text(f"{key},sex,age\n{names[0]},f, 20 to 40 \n{names[1]},m,\n", encoding="utf-8-sig")
    assert add_attributes(study, table).groups == {"sex": ("f", "m", ""), "age": ("20 to 40", "", "")}
    assert set(add_attributes(study, table, ["age"]).groups) == {"age"}


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("name,sex\na,f\n", "a column file or person"),
        ("person,age\na,1\n", "no column sex"),
        ('person,sex\na,"f\np1,m\n', "line 2 begins no row of CSV"),
        ("person,sex\nz,f\n", "none of the study's"),
        ("person,sex\n" + "".join(f"p{i},{i}\n" for i in range(40)), "40 values"),
    ],
)
def test_a_table_that_does_not_fit_says_why(tmp_path: Path, text: str, reason: str) -> None:
    study = read_folder(touch(tmp_path, "a/1.jpg", *(f"p{i}/1.jpg" for i in range(40))))
    table = tmp_path / "groups.csv"
    table.write_text(text)
    with pytest.raises(PhotographsInvalid, match=reason):
        add_attributes(study, table, ["sex"])
