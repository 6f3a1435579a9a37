"""One space, no new enrolment; another space, no score."""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from service import gallery_models
from service.database.schema import new_id
from service.face.cross_model import PAIRS, Strictest, read_pairs
from service.face.errors import ModelInvalid
from service.face.registry import Registry
from service.face.score import ThresholdTable
from service.gallery.changes import template_update
from service.gallery.embedded import open_embedded
from service.gallery.errors import TemplateMissing
from service.gallery.gallery import Gallery
from service.gallery.records import NewFace
from service.gallery_models import Headcount, Reach
from tests.gallery.vectors import people
from tests.rollout.conftest import STUDENT_ROWS, TEACHER_ROWS, Start, enrol, identify, rows

TEACHER, STUDENT, STRANGER = "a" * 64, "b" * 64, "c" * 64


def names(answer: dict[str, Any]) -> list[str]:
    return [model["name"] for model in answer["reference_models"]]


def test_probe_of_a_student_finds_people_enrolled_with_the_teacher(
    start: Start, portrait: bytes, other_portrait: bytes, dim_portrait: bytes
) -> None:
    client = start("teacher")
    enrol(client, "person-1", portrait)
    enrol(client, "person-2", other_portrait)
    own = identify(client, dim_portrait, fmr="0.01")
    assert (own["model"]["name"], names(own), own["calibration"]) == ("teacher", ["teacher"], "model")

    client = start("student")
    found = identify(client, dim_portrait, fmr="0.01")
    assert (found["model"]["name"], names(found), found["calibration"]) == ("student", ["teacher"], "cautious")
    face = found["faces"][0]
    assert face["decision"] == "match"
    assert face["candidates"][0]["subject"] == "person-1"
    assert face["candidates"][0]["reference_model"] == found["reference_models"][0]["digest"]
    assert face["candidates"][0]["score"] == pytest.approx(own["faces"][0]["candidates"][0]["score"], abs=0.1)
    # The stricter of the two tables, at the rate that two templates ask for.
    table = Strictest([ThresholdTable(STUDENT_ROWS), ThresholdTable(TEACHER_ROWS)])
    assert found["threshold"] == pytest.approx(ThresholdTable(STUDENT_ROWS).for_gallery(0.01, 2).value)
    assert found["threshold"] == table.for_gallery(0.01, 2).value
    assert found["unreachable"] == 0

    files = {"probe": ("p.jpg", dim_portrait, "image/jpeg")}
    verified = client.post("/v1/verify", data={"subject": "person-1", "fmr": "0.001"}, files=files).json()
    assert (verified["decision"], names(verified), verified["calibration"]) == ("match", ["teacher"], "cautious")
    assert verified["threshold"] == 0.45
    wrong = client.post("/v1/verify", data={"subject": "person-2", "fmr": "0.001"}, files=files).json()
    assert wrong["decision"] == "no_match"


def test_nobody_is_overlooked_when_each_model_has_templates_of_some_people(
    start: Start, portrait: bytes, other_portrait: bytes
) -> None:
    enrol(start("teacher"), "person-1", portrait)
    client = start("student")
    enrol(client, "person-2", other_portrait)
    for image, person in ((portrait, "person-1"), (other_portrait, "person-2")):
        found = identify(client, image, fmr="0.01")
        assert names(found) == ["student", "teacher"]
        assert found["comparisons"] == 2
        assert found["faces"][0]["candidates"][0]["subject"] == person
    enrol(client, "person-1", portrait)
    subject = client.post(
        "/v1/verify", data={"subject": "person-1", "fmr": "0.01"}, files={"probe": ("p.jpg", portrait, "image/jpeg")}
    ).json()
    assert names(subject) == ["student", "teacher"]
    assert subject["score"] == pytest.approx(1.0, abs=1e-3)


def test_duplicates_are_found_among_templates_of_the_space(start: Start, portrait: bytes, dim_portrait: bytes) -> None:
    enrol(start("teacher"), "person-1", portrait)
    client = start("student")
    answer = client.post(
        "/v1/enroll",
        data={"subject": "person-2", "duplicate": "reject", "quality": "report", "fmr": "0.01"},
        files={"images": ("face.jpg", dim_portrait, "image/jpeg")},
    )
    assert answer.status_code == 409
    assert answer.json()["code"] == "duplicate_subject"
    assert answer.json()["duplicates"][0]["subject"] == "person-1"


def test_another_space_is_refused(start: Start, portrait: bytes) -> None:
    enrol(start("teacher"), "person-1", portrait)
    client = start("stranger", "teacher")
    for route, name, fields in (("identify", "image", {}), ("verify", "probe", {"subject": "person-1"})):
        files = {name: ("p.jpg", portrait, "image/jpeg")}
        answer = client.post(f"/v1/{route}", data={"model": "stranger", "fmr": "0.01", **fields}, files=files)
        assert answer.status_code == 409
        assert answer.json()["code"] == "space_mismatch"
        assert "teacher@1.0.0" in answer.json()["detail"]


def test_faces_out_of_reach_are_counted(start: Start, portrait: bytes, other_portrait: bytes) -> None:
    enrol(start("teacher"), "person-1", portrait)
    client = start("stranger")
    enrol(client, "person-2", other_portrait)
    assert identify(client, other_portrait, fmr="0.01")["unreachable"] == 1


def test_a_pair_measured_together_decides_by_its_own_thresholds(
    start: Start, zoo: Path, tmp_path: Path, portrait: bytes
) -> None:
    enrol(start("teacher"), "person-1", portrait)
    teacher = json.loads((zoo / "teacher-1.0.0" / "manifest.json").read_text())["sha256"]
    measured = [row.model_dump() for row in rows((1e-1, 0.28), (1e-3, 0.48))]
    copy = tmp_path / "calibrated"
    shutil.copytree(zoo / "student-1.0.0", copy / "student")
    (copy / "student" / PAIRS).write_text(json.dumps([{"reference": teacher, "thresholds": measured}]))
    client = start("student", first=(copy,))
    files = {"probe": ("p.jpg", portrait, "image/jpeg")}
    answer = client.post("/v1/verify", data={"subject": "person-1", "fmr": "0.001"}, files=files).json()
    assert (answer["calibration"], answer["threshold"]) == ("pair", 0.48)


def test_a_damaged_pair_file_refuses_to_load(tmp_path: Path) -> None:
    assert read_pairs(tmp_path) == {}
    (tmp_path / PAIRS).write_text('[{"reference": "short"}]')
    with pytest.raises(ModelInvalid, match=r"pairs\.json"):
        read_pairs(tmp_path)


def test_an_identification_counts_people_and_a_claim_shares_its_rate_among_photographs(
    start: Start, portrait: bytes, dim_portrait: bytes, other_portrait: bytes
) -> None:
    client = start("teacher")
    enrol(client, "person-1", portrait)
    enrol(client, "person-2", other_portrait)
    table = ThresholdTable(TEACHER_ROWS)
    alone = identify(start("teacher"), portrait, fmr="0.01")
    client = start("teacher")
    for image in (portrait, portrait, dim_portrait):  # two copies, and another photograph
        enrol(client, "person-1", image)
    client = start("teacher")
    found = identify(client, portrait, fmr="0.01")
    assert (alone["people"], alone["comparisons"]) == (2, 2)
    assert (found["people"], found["comparisons"]) == (2, 5)
    assert found["threshold"] == alone["threshold"] == table.for_gallery(0.01, 2).value
    assert found["fpir"] == pytest.approx(0.01)
    # Two different photographs: the best of them has to reach the threshold of two.
    worth = table.for_gallery(0.01, 4).value - table.for_gallery(0.01, 2).value
    scores = [answer["faces"][0]["candidates"][0]["score"] for answer in (alone, found)]
    assert scores[1] == pytest.approx(scores[0] - worth, abs=2e-3)

    files = {"probe": ("p.jpg", portrait, "image/jpeg")}
    claims = [
        client.post("/v1/verify", data={"subject": name, "fmr": "0.01"}, files=files).json()
        for name in ("person-1", "person-2")
    ]
    assert [claim["pictures"] for claim in claims] == [2, 1]
    assert [claim["threshold"] for claim in claims] == [table.for_gallery(0.01, 2).value, table.at(0.01).value]


@pytest.fixture
def gallery(tmp_path: Path) -> Iterator[Gallery]:
    """Four people, of a template of the teacher's and one of the student's each, and one whom only a stranger knows."""
    made = open_embedded(tmp_path / "gallery")
    made.create_collection("main")
    for number, vector in enumerate(people(4, 1, 32)):
        made.enroll("main", f"s{number}", [NewFace(new_id(), {TEACHER: vector, STUDENT: vector})])
    made.enroll("main", "other", [NewFace(new_id(), {STRANGER: people(1, 1, 24)[0]})])
    yield made
    made.close()


def test_where_all_templates_of_a_space_have_just_been_dropped_nobody_is_called_a_stranger(
    gallery: Gallery, zoo: Path
) -> None:
    known = Registry.scan([zoo]).find("teacher").manifest
    reach = Reach(
        gallery=gallery,
        collection="main",
        subject="s0",
        models=tuple(known.model_copy(update={"sha256": digest}) for digest in (STUDENT, TEACHER)),
        thresholds=ThresholdTable(TEACHER_ROWS),
        calibration="cautious",
        unreachable=0,
        own=None,
        offsets={},
        headcount=Headcount(gallery),
    )
    (probe,) = people(1, 1, 32)
    assert [hit.subject for hit in reach.search(probe[None], 1)[0]] == ["s0"]
    for digest in (STUDENT, TEACHER):
        assert reach.compare(probe).subject == "s0"
        gallery.change(partial(template_update.drop_some, digest=digest, collection=None, limit=100))
    with pytest.raises(TemplateMissing, match="models there: cccccccccccc"):
        reach.search(probe[None], 1)
    with pytest.raises(TemplateMissing):
        reach.compare(probe)


def test_a_large_collection_that_became_small_is_counted_again(
    gallery: Gallery, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(gallery_models, "LARGE", 2)
    monkeypatch.setattr(gallery_models, "FRESH_SECONDS", 3600.0)
    headcount = Headcount(gallery)
    assert headcount.of("main", (TEACHER,), 4) == 4
    gallery.delete_collection("main")
    gallery.create_collection("main")
    gallery.enroll("main", "ann", [NewFace(new_id(), {TEACHER: people(1, 1, 32)[0]})])
    assert headcount.of("main", (TEACHER,), 1) == 1
