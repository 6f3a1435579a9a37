"""Who is to be enrolled, as folders and lists say it."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path

import pytest

from service.bulk.enrolment import Batch, Choices, Verdict, divide, enroll_all
from service.bulk.errors import ListInvalid
from service.bulk.people import Person, read_people
from service.bulk.record import Record
from service.bulk.report import Report

LATIN = os.fsdecode(b"caf\xe9.jpg")
"""A name as older systems wrote it, which is no UTF-8."""


class Willing:
    """Enrols whatever comes."""

    target = "nowhere"

    def enroll(self, batch: Batch) -> Sequence[Verdict]:
        return [Verdict("face")] * len(batch.images)


def test_facts_may_have_several_lines(tmp_path: Path) -> None:
    people = tmp_path / "people.csv"
    people.write_bytes(b'subject,image,notes\r\nAnn,a.jpg,"tall\r\nwears a hat"\r\n')
    assert read_people(people) == [Person("Ann", (tmp_path / "a.jpg",), {"notes": "tall\nwears a hat"})]


def test_a_file_of_any_name_is_enrolled_once_and_reported(tmp_path: Path) -> None:
    folder = tmp_path / "people" / "ann"
    folder.mkdir(parents=True)
    (folder / LATIN).write_bytes(b"a photograph")
    for run in range(2):
        with Record(tmp_path / "record", Willing.target) as record:
            portions = divide(read_people(folder.parent))
            report = Report(list(enroll_all(portions, Willing(), record, 1, Choices())), 1.0)
        assert (report.enrolled, report.earlier) == ((1, 0), (0, 1))[run]
        assert report.document()["photographs"][0]["file"] == f"{folder}/caf\\xe9.jpg"
        report.write_csv(tmp_path / "report.csv")
        assert "caf\\xe9.jpg" in (tmp_path / "report.csv").read_text(encoding="utf-8")


def test_a_folder_whose_name_no_person_can_have_is_named(tmp_path: Path) -> None:
    (tmp_path / LATIN).mkdir()
    (tmp_path / LATIN / "1.jpg").touch()
    with pytest.raises(ListInvalid, match=r"caf\\xe9\.jpg: the name of a folder"):
        read_people(tmp_path)
