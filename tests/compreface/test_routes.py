"""`/api/v1` gives the answers that CompreFace's clients expect, made by the decisions of `/v1`."""

from __future__ import annotations

import io
import unicodedata
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image

from service.database.audit_log import AuditQuery, read_audit
from service.rollout.decision_log import LogQuery
from tests.api.conftest import b64
from tests.compreface.conftest import House
from tests.conftest import encode

FILE = "/recognition/recognize"


def test_subjects_are_made_listed_renamed_merged_and_deleted(house: House, astronaut_jpeg: bytes) -> None:
    door = house.door("subjects")
    made = door.ask("POST", "/recognition/subjects", json={"subject": "Meg"})
    assert (made.status_code, made.json()) == (201, {"subject": "Meg"})
    again = door.ask("POST", "/recognition/subjects", json={"subject": "Meg"})
    assert (again.status_code, again.json()) == (400, {"message": "Subject already exists", "code": 43})
    assert door.ask("PUT", "/recognition/subjects/Meg", json={"subject": "Edna"}).json() == {"updated": True}
    assert door.ask("PUT", "/recognition/subjects/Edna", json={"subject": "Edna"}).json() == {"updated": False}
    face = door.add("Moss", astronaut_jpeg)
    assert door.ask("GET", "/recognition/subjects/").json() == {"subjects": ["Edna", "Moss"]}
    assert door.ask("PUT", "/recognition/subjects/Moss", json={"subject": "Edna"}).json() == {"updated": True}
    assert door.ask("GET", "/recognition/subjects").json() == {"subjects": ["Edna"]}
    stored = door.ask("GET", "/recognition/faces").json()["faces"]
    assert stored == [{"image_id": face, "subject": "Edna"}]
    (found,) = door.send(FILE, astronaut_jpeg)["result"]
    assert found["subjects"][0]["subject"] == "Edna", "the merged face is found under its new name"
    assert house.services.gallery.verify().sound
    assert door.ask("DELETE", "/recognition/subjects/Edna").json() == {"subject": "Edna"}
    gone = door.ask("DELETE", "/recognition/subjects/Edna")
    assert (gone.status_code, gone.json()["code"]) == (404, 42)


def test_all_subjects_are_deleted_and_the_collection_stays(house: House, astronaut_jpeg: bytes) -> None:
    door = house.door("emptied", keep_crops=True)
    door.add("a", astronaut_jpeg)
    door.ask("POST", "/recognition/subjects", json={"subject": "b"})
    assert door.ask("DELETE", "/recognition/subjects").json() == {"deleted": 2}
    assert door.ask("GET", "/recognition/subjects").json() == {"subjects": []}
    assert door.send(FILE, astronaut_jpeg)["result"][0]["subjects"] == []
    assert house.services.gallery.collection("emptied").keep_crops


def test_faces_are_added_listed_by_pages_shown_and_deleted(
    house: House, astronaut_jpeg: bytes, admiral_jpeg: bytes
) -> None:
    door = house.door("faces", keep_crops=True)
    first = door.add("Edna", astronaut_jpeg)
    as_json = door.ask("POST", "/recognition/faces", params={"subject": "Gwen"}, json={"file": b64(admiral_jpeg)})
    assert as_json.status_code == 201
    second = as_json.json()["image_id"]
    third = door.add("Gwen", admiral_jpeg)
    page = door.ask("GET", "/recognition/faces", params={"page": 1, "size": 2}).json()
    assert page == {
        "faces": [{"image_id": third, "subject": "Gwen"}],
        "page_number": 1,
        "page_size": 2,
        "total_pages": 2,
        "total_elements": 3,
    }
    widest = door.ask("GET", "/recognition/faces", params={"size": 10**6}).json()
    assert (len(widest["faces"]), widest["page_size"], widest["total_pages"]) == (3, 2000, 1)
    of_one = door.ask("GET", "/recognition/faces", params={"subject": "Gwen"}).json()
    assert ([face["image_id"] for face in of_one["faces"]], of_one["total_elements"]) == ([second, third], 2)
    shown = door.ask("GET", f"/recognition/faces/{first}/img")
    assert Image.open(io.BytesIO(shown.content)).size == (128, 128)
    assert door.ask("DELETE", f"/recognition/faces/{first}").json() == {"image_id": first, "subject": "Edna"}
    erased = door.ask("POST", "/recognition/faces/delete", json=[second, "not-there", first]).json()
    assert erased == [{"image_id": second, "subject": "Gwen"}]
    assert door.ask("DELETE", "/recognition/faces", params={"subject": "Gwen"}).json() == {"deleted": 1}
    assert door.ask("DELETE", "/recognition/faces", params={"subject": "Gwen"}).json() == {"deleted": 0}
    assert door.ask("GET", "/recognition/subjects").json() == {"subjects": ["Edna"]}
    assert door.ask("DELETE", "/recognition/faces").json() == {"deleted": 0}
    assert door.ask("GET", "/recognition/subjects").json() == {"subjects": []}


def test_a_subject_is_found_however_the_accents_were_typed(house: House) -> None:
    door = house.door("accents")
    door.ask("POST", "/recognition/subjects", json={"subject": "Zoë"})
    typed = {"subject": unicodedata.normalize("NFD", "Zoë")}
    assert door.ask("GET", "/recognition/faces", params=typed).json()["total_elements"] == 0
    assert door.ask("DELETE", "/recognition/faces", params=typed).json() == {"deleted": 0}
    assert door.ask("GET", "/recognition/subjects").json() == {"subjects": []}


def test_a_picture_that_was_not_kept_is_empty(house: House, astronaut_jpeg: bytes) -> None:
    door = house.door("no-pictures")
    shown = door.ask("GET", f"/recognition/faces/{door.add('Edna', astronaut_jpeg)}/img")
    assert (shown.status_code, shown.content) == (200, b"")


def test_faces_are_recognised_with_what_is_asked_for_of_them(
    house: House, astronaut_jpeg: bytes, smaller_astronaut_jpeg: bytes, both_jpeg: bytes, admiral_jpeg: bytes
) -> None:
    door = house.door("recognition")
    door.add("Edna", astronaut_jpeg)
    (face,) = door.send(FILE, smaller_astronaut_jpeg)["result"]
    assert set(face) == {"box", "subjects"}
    assert set(face["box"]) == {"probability", "x_min", "y_min", "x_max", "y_max"}
    assert all(isinstance(face["box"][side], int) for side in ("x_min", "y_min", "x_max", "y_max"))
    assert face["subjects"][0]["subject"] == "Edna"
    assert face["subjects"][0]["similarity"] >= 0.95
    (stranger,) = door.send(FILE, admiral_jpeg)["result"]
    assert stranger["subjects"][0]["similarity"] < 0.85, "a stranger is named, and not taken for anybody"
    full = door.send(FILE, both_jpeg, face_plugins="landmarks,calculator,age,gender", status="true")
    assert len(full["result"]) == 2
    told = {"box", "subjects", "landmarks", "embedding", "execution_time"}
    assert all(set(each) == told for each in full["result"]), "what no plugin here tells is missing, never made up"
    assert [len(each["landmarks"]) for each in full["result"]] == [5, 5]
    assert np.isclose(np.linalg.norm(full["result"][0]["embedding"]), 1.0, atol=1e-4)
    assert set(full["result"][0]["execution_time"]) == {"detector", "calculator"}
    assert set(full["plugins_versions"]) == {"detector", "calculator"}
    assert len(door.send(FILE, both_jpeg, limit=1)["result"]) == 1
    door.add("Gwen", admiral_jpeg)
    named = [each["subjects"] for each in door.send(FILE, both_jpeg, prediction_count=2)["result"]]
    assert [{name["subject"] for name in names} for names in named] == [{"Edna", "Gwen"}] * 2
    assert all(names[0]["similarity"] > names[1]["similarity"] for names in named)
    for many in (-1, 1000):
        assert len(door.send(FILE, astronaut_jpeg, prediction_count=many)["result"][0]["subjects"]) == 2


def test_a_cropped_face_is_recognised_without_looking_for_it(house: House, astronaut_jpeg: bytes) -> None:
    door = house.door("cropped", keep_crops=True)
    crop = door.ask("GET", f"/recognition/faces/{door.add('Edna', astronaut_jpeg)}/img").content
    (face,) = door.send(FILE, crop, detect_faces="false")["result"]
    assert face["box"] == {"probability": 1.0, "x_min": 0, "y_min": 0, "x_max": 128, "y_max": 128}
    assert face["subjects"][0]["similarity"] == 1.0


def test_what_the_detector_scores_less_is_no_face(house: House, astronaut_jpeg: bytes) -> None:
    door = house.door("detection")
    (face,) = door.send("/detection/detect", astronaut_jpeg)["result"]
    score = face["box"]["probability"]
    assert door.send("/detection/detect", astronaut_jpeg, det_prob_threshold=score - 0.01)["result"] == [face]
    nothing = door.ask("POST", "/detection/detect", params={"det_prob_threshold": 1}, files={"file": astronaut_jpeg})
    assert (nothing.status_code, nothing.json()) == (
        400,
        {"message": "No face is found in the given image", "code": 28},
    )
    with_embedding = door.send("/detection/detect", astronaut_jpeg, face_plugins="calculator")["result"]
    assert len(with_embedding[0]["embedding"]) == house.services.engine.embedder(None).dim


def test_faces_are_compared_with_a_stored_one(house: House, astronaut_jpeg: bytes, both_jpeg: bytes) -> None:
    door = house.door("stored")
    face = door.add("Edna", astronaut_jpeg)
    both = door.send(f"/recognition/faces/{face}/verify", both_jpeg)["result"]
    assert sorted(each["similarity"] >= 0.95 for each in both) == [False, True]
    assert {each["subject"] for each in both} == {"Edna"}
    unknown = door.ask("POST", "/recognition/faces/none/verify", files={"file": astronaut_jpeg})
    assert (unknown.status_code, unknown.json()["code"]) == (404, 44)


def test_only_the_stored_face_that_was_asked_for_is_compared(
    house: House, astronaut_jpeg: bytes, admiral_jpeg: bytes
) -> None:
    door = house.door("mixed")
    door.add("one person", astronaut_jpeg)
    other = door.add("one person", admiral_jpeg)
    (compared,) = door.send(f"/recognition/faces/{other}/verify", astronaut_jpeg)["result"]
    assert compared["similarity"] < 0.85, "the person has a picture that fits, and it is not this one"


def test_two_pictures_are_compared(
    house: House, astronaut_jpeg: bytes, smaller_astronaut_jpeg: bytes, both_jpeg: bytes
) -> None:
    door = house.door("pairs")
    as_form = door.ask(
        "POST", "/verification/verify", files={"source_image": astronaut_jpeg, "target_image": both_jpeg}
    ).json()
    (match,) = as_form["result"]
    assert set(match) == {"source_image_face", "face_matches"}
    assert set(match["source_image_face"]) == {"box"}
    assert sorted(each["similarity"] >= 0.95 for each in match["face_matches"]) == [False, True]
    pictures = {"source_image": b64(astronaut_jpeg), "target_image": b64(smaller_astronaut_jpeg)}
    as_json = door.ask("POST", "/verification/verify", json=pictures, params={"status": "True"}).json()
    assert as_json["result"][0]["face_matches"][0]["similarity"] >= 0.95
    assert set(as_json["result"][0]["plugins_versions"]) == {"detector", "calculator"}
    several = door.ask(
        "POST", "/verification/verify", files={"source_image": both_jpeg, "target_image": astronaut_jpeg}
    )
    assert (several.status_code, several.json()) == (
        400,
        {"message": "More than one face in the source image", "code": 31},
    )


def test_verification_decides_as_v1_does(house: House, astronaut_jpeg: bytes, admiral_jpeg: bytes) -> None:
    door = house.door("like-v1")
    headers = {"x-api-key": house.key()}
    for other in (astronaut_jpeg, admiral_jpeg):
        here = door.ask("POST", "/verification/verify", files={"source_image": astronaut_jpeg, "target_image": other})
        there = house.client.post("/v1/verify", files={"reference": astronaut_jpeg, "probe": other}, headers=headers)
        similarity = here.json()["result"][0]["face_matches"][0]["similarity"]
        assert (similarity >= 0.85) == (there.json()["decision"] == "match"), "0.85 is the default rate of 1 in 1,000"


def test_embeddings_are_decided_as_their_pictures_are(house: House, astronaut_jpeg: bytes, both_jpeg: bytes) -> None:
    door = house.door("embeddings")
    face = door.add("Edna", astronaut_jpeg)
    seen = door.send(FILE, both_jpeg, face_plugins="calculator")["result"]
    embeddings = [each["embedding"] for each in seen]
    found = door.ask("POST", "/recognition/embeddings/recognize", json={"embeddings": embeddings}).json()["result"]
    assert [each["similarities"][0]["subject"] for each in found] == ["Edna", "Edna"]
    similar = [each["similarities"][0]["similarity"] for each in found]
    assert similar == pytest.approx([each["subjects"][0]["similarity"] for each in seen], abs=1e-3)
    stored = door.ask("POST", f"/recognition/embeddings/faces/{face}/verify", json={"embeddings": embeddings}).json()[
        "result"
    ]
    assert [each["similarity"] for each in stored] == pytest.approx(sorted(similar, reverse=True), abs=1e-3)
    assert stored[0]["embedding"] == embeddings[int(np.argmax(similar))]
    pair = door.ask(
        "POST", "/verification/embeddings/verify", json={"source": embeddings[0], "targets": embeddings}
    ).json()["result"]
    assert [each["similarity"] >= 0.95 for each in pair] == [True, False]


@pytest.mark.parametrize(
    ("method", "path", "given", "status", "code"),
    [
        ("POST", FILE, {"params": {"prediction_count": 0}}, 400, 12),
        ("POST", FILE, {"params": {"limit": -1}, "files": {"file": b"x"}}, 400, 26),
        ("POST", FILE, {"params": {"det_prob_threshold": 1.5}, "files": {"file": b"x"}}, 400, 26),
        ("POST", FILE, {"files": {"picture": b"x"}}, 400, 34),
        ("POST", FILE, {"files": {"file": b"no picture"}}, 400, 21),
        ("POST", FILE, {"files": {"file": bytes(11 << 20)}}, 413, 21),
        ("POST", FILE, {"files": {"file": bytes(16 << 20)}}, 413, 21),
        ("POST", FILE, {"json": {"file": "&&&"}}, 400, 21),
        ("POST", FILE, {"json": {}}, 400, 34),
        ("POST", "/recognition/faces", {"json": {"file": ""}}, 400, 33),
        ("POST", "/recognition/subjects", {"json": {"subject": ""}}, 400, 26),
        ("POST", "/recognition/subjects", {"content": b"{", "headers": {"content-type": "application/json"}}, 400, 26),
        ("PUT", "/recognition/subjects/nobody", {"json": {"subject": "other"}}, 404, 42),
        ("DELETE", "/recognition/faces/none", {}, 404, 44),
        ("POST", "/recognition/faces/delete", {"json": ["a\0b"]}, 400, 26),
        ("POST", "/recognition/embeddings/recognize", {"json": {"embeddings": []}}, 400, 37),
        ("POST", "/recognition/embeddings/recognize", {"json": {"embeddings": [[1.0, 2.0]]}}, 400, 36),
        ("POST", "/recognition/embeddings/recognize", {"json": {"embeddings": [[1.0]] * 65}}, 400, 26),
        ("POST", "/recognition/embeddings/recognize", {"json": {"embeddings": "1.0"}}, 400, 26),
        ("POST", "/verification/embeddings/verify", {"json": {"source": [0.0], "targets": []}}, 400, 37),
    ],
)
def test_errors_have_the_codes_of_compreface(
    house: House, method: str, path: str, given: dict[str, Any], status: int, code: int
) -> None:
    key = house.key()
    headers = {"x-api-key": key, **given.pop("headers", {})} if "headers" in given else {"x-api-key": key}
    answer = house.client.request(method, f"/api/v1{path}", headers=headers, **given)
    assert set(answer.json()) == {"message", "code"}, answer.text
    assert (answer.status_code, answer.json()["code"]) == (status, code), answer.text


def test_a_face_that_is_not_there_and_one_too_many_are_refused(house: House, cat_png: bytes, both_jpeg: bytes) -> None:
    door = house.door("refused")
    none = door.ask("POST", "/recognition/faces", params={"subject": "a"}, files={"file": cat_png})
    assert (none.status_code, none.json()["code"]) == (400, 28)
    several = door.ask("POST", "/recognition/faces", params={"subject": "a"}, files={"file": both_jpeg})
    assert (several.status_code, several.json()["code"]) == (400, 31)
    assert door.send(FILE, cat_png) == {"message": "No face is found in the given image", "code": 28}


def test_parameters_that_nobody_knows_are_overlooked(house: House, astronaut_jpeg: bytes) -> None:
    door = house.door("lenient")
    assert "result" in door.send("/detection/detect", astronaut_jpeg, prediction_count=3, color="blue")


def test_decisions_are_audited_and_counted(house: House, astronaut_jpeg: bytes, cat_png: bytes) -> None:
    door = house.door("noted")
    face = door.add("Edna", astronaut_jpeg)
    door.send(FILE, astronaut_jpeg, face_plugins="calculator")
    door.send(FILE, cat_png)
    door.send(f"/recognition/faces/{face}/verify", astronaut_jpeg)
    embedding = door.send("/detection/detect", astronaut_jpeg, face_plugins="calculator")["result"][0]["embedding"]
    door.ask("POST", "/recognition/embeddings/recognize", json={"embeddings": [embedding]})
    door.ask("DELETE", f"/recognition/faces/{face}")
    door.ask("GET", "/recognition/subjects")
    database = house.services.gallery.database
    database.write(lambda connection: None)  # what was deferred travels along
    entries = read_audit(database.engine, AuditQuery(collections=frozenset({"noted"})), None, 100).items
    noted = [(entry.action, entry.outcome) for entry in reversed(entries)]
    assert noted == [
        ("enroll", "1 of 1"),
        ("identify", "match"),
        ("recognize", "no_face"),
        ("verify", "match"),
        ("identify_template", "match"),
        ("delete_face", "done"),
        ("list_subjects", "done"),
    ]
    model = house.services.engine.embedder(None).manifest.identity
    labels = {"model": model, "collection": "noted", "decision": "match"}
    for route, count in (("identify", 2.0), ("verify", 1.0)):
        found = house.services.series.get_sample_value("facet_decisions_total", {"route": route, **labels})
        assert found == count
    refused = {"model": model, "collection": "noted", "outcome": "no_face"}
    assert house.services.series.get_sample_value("facet_acquisitions_total", refused) == 1.0


def test_a_challenger_decides_the_same_in_the_shadow(house: House, astronaut_jpeg: bytes, admiral_jpeg: bytes) -> None:
    services = house.services
    champion, challenger = (embedder.manifest.identity for embedder in services.engine.models.embedders[:2])
    door = house.door("shadowed")
    door.add("one person", astronaut_jpeg)
    other = door.add("one person", admiral_jpeg)
    before = services.roles.current()
    services.roles.assign("test", champion, challenger, 1.0)
    try:
        door.send(f"/recognition/faces/{other}/verify", astronaut_jpeg)
        door.send(FILE, astronaut_jpeg)
        digests = [services.registry.find(name).manifest.sha256 for name in (champion, challenger)]
        query = LogQuery(digests[0], digests[1])
        while len(compared := services.decision_log.all(replace(query, collections=frozenset({"shadowed"})))) < 2:
            services.gallery.database.write(lambda connection: None)  # what was deferred travels along
    finally:
        services.roles.assign("test", champion, None, before.sample)
    decided = {case.route: (case.champion.decision, case.challenger and case.challenger.decision) for case in compared}
    assert decided["verify"] == ("no_match", "no_match"), "both compared the one face that was asked for"
    assert decided["identify"] == ("match", "match")


def test_a_face_unfit_for_comparison_is_added_unless_a_setting_says_no(
    house: House, monkeypatch: pytest.MonkeyPatch, astronaut: NDArray[np.uint8]
) -> None:
    door, dark = house.door("unfit"), encode(np.asarray(astronaut // 14, np.uint8), "PNG")
    door.add("Edna", dark)
    strict = house.services.settings.compreface.model_copy(update={"quality": "enforce"})
    settings = house.services.settings.model_copy(update={"compreface": strict})
    monkeypatch.setattr(house.app.state, "services", replace(house.services, settings=settings))
    refused = door.ask("POST", "/recognition/faces", params={"subject": "Edna"}, files={"file": dark})
    assert (refused.status_code, refused.json()["code"]) == (400, 26)
    assert "too_dark" in refused.json()["message"]
