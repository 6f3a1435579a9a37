"""Collections, subjects and faces as resources."""

from __future__ import annotations

import io
import unicodedata
from pathlib import Path
from urllib.parse import quote

import numpy as np
import pytest
from fastapi.testclient import TestClient
from numpy.typing import NDArray
from PIL import Image

from service.app import create_app
from tests.api.conftest import Running, settings_for
from tests.conftest import encode


@pytest.fixture(scope="module")
def staff(running: Running, astronaut_jpeg: bytes, admiral_jpeg: bytes) -> str:
    name = running.collection("staff")
    for subject, data in (("ann", astronaut_jpeg), ("bob", admiral_jpeg), ("bea", admiral_jpeg)):
        assert running.post("/enroll", {"images": ("i", data)}, subject=subject, collection=name).status_code == 201
    return name


def test_a_new_service_has_a_collection_to_start_with(running: Running) -> None:
    assert running.client.get("/v1/collections/default").status_code == 200


def test_collections_are_made_read_listed_and_erased(running: Running, astronaut_jpeg: bytes) -> None:
    made = running.client.post("/v1/collections", json={"name": "short", "metadata": {"site": "north", "floor": 2}})
    assert made.status_code == 201
    assert made.json()["metadata"] == {"site": "north", "floor": 2}
    assert running.client.get("/v1/collections/short").json() == made.json()
    assert made.json() in running.client.get("/v1/collections?limit=1000").json()["items"]
    again = running.client.post("/v1/collections", json={"name": "short"})
    assert (again.status_code, again.json()["code"]) == (409, "collection_exists")
    running.post("/enroll", {"images": ("i", astronaut_jpeg)}, subject="x", collection="short")
    receipt = running.client.delete("/v1/collections/short").json()
    assert (receipt["kind"], receipt["faces"]) == ("collection", 1)
    assert running.client.get("/v1/collections/short").json()["code"] == "collection_not_found"
    assert receipt["id"] in [r["id"] for r in running.client.get("/v1/receipts?limit=1000").json()["items"]]


def test_subjects_are_paged_without_gap_or_repetition(running: Running, staff: str) -> None:
    names, cursor = [], None
    while True:
        asked = {"limit": "1", **({"cursor": cursor} if cursor else {})}
        page = running.client.get(f"/v1/collections/{staff}/subjects", params=asked).json()
        names += [item["name"] for item in page["items"]]
        cursor = page["next_cursor"]
        if cursor is None:
            break
    assert names == ["ann", "bob", "bea"]
    begun = running.client.get(f"/v1/collections/{staff}/subjects?prefix=b").json()["items"]
    assert [item["name"] for item in begun] == ["bob", "bea"]


def test_a_cursor_of_ones_own_making_is_refused(running: Running, staff: str) -> None:
    answer = running.client.get(f"/v1/collections/{staff}/subjects?cursor=nonsense")
    assert (answer.status_code, answer.json()["code"]) == (422, "cursor_invalid")


def test_a_subject_is_renamed_and_described(running: Running, astronaut_jpeg: bytes) -> None:
    name = running.collection("renaming")
    running.post("/enroll", {"images": ("i", astronaut_jpeg)}, subject="old", collection=name)
    running.post("/enroll", {"images": ("i", astronaut_jpeg)}, subject="taken", collection=name)
    path = f"/v1/collections/{name}/subjects"
    changed = running.client.patch(f"{path}/old", json={"name": "new", "metadata": {"badge": "A-7"}})
    assert changed.status_code == 200
    assert (changed.json()["name"], changed.json()["metadata"]) == ("new", {"badge": "A-7"})
    assert running.client.get(f"{path}/old").status_code == 404
    assert running.client.patch(f"{path}/new", json={"name": "taken"}).json()["code"] == "subject_exists"
    assert running.client.patch(f"{path}/new", json={}).status_code == 422
    found = running.post("/identify", {"image": ("i", astronaut_jpeg)}, collection=name, threshold="0.9").json()
    assert "new" in [c["subject"] for c in found["faces"][0]["candidates"]]


def test_faces_are_read_and_erased(running: Running, astronaut_jpeg: bytes) -> None:
    name = running.collection("erasing")
    for _ in range(2):
        running.post("/enroll", {"images": ("i", astronaut_jpeg)}, subject="person", collection=name)
    faces = running.client.get(f"/v1/collections/{name}/subjects/person/faces").json()["items"]
    assert len(faces) == 2
    one = f"/v1/collections/{name}/faces/{faces[0]['id']}"
    assert running.client.get(one).json() == faces[0]
    assert faces[0]["quality"]["eye_distance"] > 10
    assert running.services.engine.models.default.digest in faces[0]["models"]
    receipt = running.client.delete(one).json()
    assert (receipt["kind"], receipt["faces"]) == ("face", 1)
    assert running.client.get(one).json()["code"] == "face_not_found"
    erased = running.client.delete(f"/v1/collections/{name}/subjects/person").json()
    assert (erased["kind"], erased["faces"]) == ("subject", 1)
    found = running.post("/identify", {"image": ("i", astronaut_jpeg)}, collection=name, threshold="0").json()
    assert found["comparisons"] == 0
    assert found["faces"][0]["decision"] == "no_match"


def test_a_crop_is_read_where_its_collection_keeps_crops(running: Running, astronaut_jpeg: bytes) -> None:
    assert running.client.post("/v1/collections", json={"name": "keeping", "keep_crops": True}).status_code == 201
    paths = []
    for name in ("keeping", running.collection("keeping nothing")):
        made = running.post("/enroll", {"images": ("i", astronaut_jpeg)}, subject="ann", collection=name).json()
        paths.append(f"/v1/collections/{name}/faces/{made['images'][0]['face_id']}/crop")
    kept, missing = (running.client.get(path) for path in paths)
    assert (kept.status_code, kept.headers["Content-Type"]) == (200, "image/png")
    with Image.open(io.BytesIO(kept.content)) as crop:
        assert (crop.size, crop.mode) == ((128, 128), "RGB")
    assert (missing.status_code, missing.json()["code"]) == (404, "crop_missing")
    unknown = running.client.get("/v1/collections/keeping/faces/none/crop")
    assert (unknown.status_code, unknown.json()["code"]) == (404, "face_not_found")
    elsewhere = running.client.get(paths[0].replace("keeping", "keeping nothing"))
    assert (elsewhere.status_code, elsewhere.json()["code"]) == (404, "face_not_found")


@pytest.mark.parametrize("name", ["", " lead", "a/b", "a\\b", "..", "tab\t", "x" * 201, "\u0958" * 101])
def test_names_that_cannot_stand_in_an_address_are_refused(running: Running, name: str) -> None:
    answer = running.client.post("/v1/collections", json={"name": name})
    assert (answer.status_code, answer.json()["code"]) == (422, "request_invalid")


def test_names_in_any_script_come_through(running: Running, astronaut_jpeg: bytes) -> None:
    name = running.collection("Besucher 東京 ?#&=+")
    running.post("/enroll", {"images": ("i", astronaut_jpeg)}, subject="Ñandú 💡", collection=name)
    path = f"/v1/collections/{quote(name, safe='')}/subjects/{quote('Ñandú 💡', safe='')}"
    assert running.client.get(path).json()["name"] == "Ñandú 💡"


@pytest.mark.parametrize("metadata", [{"deep": {"er": 1}}, {"list": [1]}, {"": 1}, {"k": "v" * 1001}, [1], "text"])
def test_metadata_is_flat_and_small(running: Running, metadata: object) -> None:
    answer = running.client.post("/v1/collections", json={"name": "meta", "metadata": metadata})
    assert (answer.status_code, answer.json()["code"]) == (422, "request_invalid")


def test_a_name_is_one_however_it_is_spelt(running: Running, astronaut_jpeg: bytes) -> None:
    composed, taken_apart = (unicodedata.normalize(form, "José　山田") for form in ("NFC", "NFD"))
    collection = running.collection(unicodedata.normalize("NFD", "Besucher für José"))
    for name in (taken_apart, composed):
        given = {"subject": name, "collection": collection}
        made = running.client.post("/v1/enroll", data=given, files={"images": ("i", astronaut_jpeg)})
        assert made.status_code == 201
        assert made.json()["subject"]["name"] == composed
    for place in (collection, unicodedata.normalize("NFC", collection)):
        subjects = f"/v1/collections/{quote(place)}/subjects"
        assert [each["name"] for each in running.client.get(subjects).json()["items"]] == [composed]
        assert len(running.client.get(subjects, params={"prefix": taken_apart[:5]}).json()["items"]) == 1
        found = running.client.get(f"{subjects}/{quote(taken_apart)}")
        assert (found.status_code, found.json()["faces"]) == (200, 2)


# ---- collections changed, faces and people put right


def audited(running: Running, action: str, target: str) -> list[str]:
    entries = running.client.get("/v1/audit", params={"action": action, "target": target}).json()["items"]
    return [entry["outcome"] for entry in entries]


def test_a_collection_says_how_many_are_in_it_and_is_changed(
    running: Running, astronaut: NDArray[np.uint8], astronaut_jpeg: bytes
) -> None:
    running.collection("changing")
    place = "/v1/collections/changing"
    dark = encode((astronaut * 0.06).astype(np.uint8))
    refused = running.post("/enroll", {"images": ("i", dark)}, subject="edna", collection="changing")
    assert refused.json()["code"] == "enrolment_refused"
    changed = running.client.patch(place, json={"keep_crops": True, "quality": "report"}).json()
    assert (changed["keep_crops"], changed["quality"], changed["subjects"]) == (True, "report", 0)
    taken = running.post("/enroll", {"images": ("i", dark)}, subject="edna", collection="changing")
    assert taken.status_code == 201
    face = taken.json()["images"][0]["face_id"]
    assert running.client.get(f"{place}/faces/{face}/crop").status_code == 200
    asked = running.post("/enroll", {"images": ("i", dark)}, subject="x", collection="changing", quality="enforce")
    assert asked.status_code == 422
    read = running.client.get(place).json()
    assert (read["subjects"], read["faces"]) == (1, 1)
    assert running.client.patch(place, json={"quality": None}).json()["quality"] is None
    assert running.client.patch(place, json={}).json()["code"] == "request_invalid"


def test_a_face_is_given_to_another_person(running: Running, astronaut_jpeg: bytes, admiral_jpeg: bytes) -> None:
    running.collection("moving")
    files = [("images", ("a", astronaut_jpeg)), ("images", ("b", admiral_jpeg))]
    enrolled = running.post("/enroll", files, subject="edna", collection="moving").json()
    face = enrolled["images"][1]["face_id"]
    place = f"/v1/collections/moving/faces/{face}"
    moved = running.client.patch(place, json={"subject": "gwen"}).json()
    assert (moved["id"], moved["subject"]) == (face, "gwen")
    found = running.post("/identify", {"image": ("i", admiral_jpeg)}, collection="moving", fmr="0.01").json()
    assert found["faces"][0]["candidates"][0]["subject"] == "gwen"
    assert found["people"] == 2
    gwen = running.client.get("/v1/collections/moving/subjects/gwen").json()
    assert audited(running, "move_face", gwen["id"]) == ["took 1"]
    assert audited(running, "move_face", enrolled["subject"]["id"]) == ["gave 1"]
    assert running.client.patch(place, json={"subject": "gwen"}).status_code == 200  # as it is
    assert audited(running, "move_face", gwen["id"])[-1] == "took 1"


def test_two_people_are_made_one_and_a_repetition_gets_the_same_answer(running: Running, astronaut_jpeg: bytes) -> None:
    running.collection("merging")
    for name in ("ann", "anne"):
        running.post("/enroll", {"images": ("i", astronaut_jpeg)}, subject=name, collection="merging")
    place = "/v1/collections/merging/subjects/ann/merge"
    once = {"Idempotency-Key": "merge-1"}
    anne = running.client.get("/v1/collections/merging/subjects/anne").json()["id"]
    merged = running.client.post(place, json={"other": "anne"}, headers=once)
    assert merged.status_code == 200
    told = merged.json()
    assert (told["subject"]["name"], told["subject"]["faces"], told["merged_id"], told["faces"]) == ("ann", 2, anne, 1)
    again = running.client.post(place, json={"other": "anne"}, headers=once)
    assert again.json() == told
    assert again.headers["Idempotency-Replayed"] == "true"
    conflict = running.client.post(place, json={"other": "bea"}, headers=once)
    assert (conflict.status_code, conflict.json()["code"]) == (409, "idempotency_conflict")
    assert running.client.post(place, json={"other": "anne"}).json()["code"] == "subject_not_found"
    assert running.client.post(place, json={"other": "ann"}).json()["code"] == "same_person"
    assert audited(running, "merge_subjects", anne) == ["gave 1"]


def test_a_person_is_enrolled_until_a_date(running: Running, astronaut_jpeg: bytes) -> None:
    running.collection("until")
    place = "/v1/collections/until/subjects/edna"
    enrolled = running.post(
        "/enroll",
        {"images": ("i", astronaut_jpeg)},
        subject="edna",
        collection="until",
        expires_at="2999-01-01T00:00:00+01:00",
    )
    assert enrolled.json()["subject"]["expires_at"] == "2998-12-31T23:00:00Z"
    assert running.client.patch(place, json={"name": "edna"}).json()["expires_at"] == "2998-12-31T23:00:00Z"
    assert running.client.patch(place, json={"expires_at": None}).json()["expires_at"] is None
    assert running.client.patch(place, json={"expires_at": "2001-01-01"}).json()["code"] == "request_invalid"


def test_whose_date_came_while_the_service_was_stopped_is_erased_at_the_start(
    models: tuple[Path, ...], tmp_path: Path, astronaut_jpeg: bytes
) -> None:
    keys: list[str] = []
    form = {"subject": "edna", "expires_at": "2001-01-01T00:00:00Z"}
    with TestClient(create_app(settings_for(tmp_path, models), keys.append)) as client:
        client.headers["Authorization"] = f"Bearer {keys[0]}"
        client.post("/v1/enroll", data=form, files={"images": astronaut_jpeg}).raise_for_status()
        assert client.get("/v1/collections/default").json()["subjects"] == 1
    with TestClient(create_app(settings_for(tmp_path, models))) as client:
        client.headers["Authorization"] = f"Bearer {keys[0]}"
        assert client.get("/v1/collections/default").json()["subjects"] == 0
        (receipt,) = client.get("/v1/receipts").json()["items"]
        (entry,) = client.get("/v1/audit?principal=expiry").json()["items"]
        assert (receipt["kind"], entry["target"], entry["collection"]) == ("subject", receipt["target"], "default")


@pytest.mark.parametrize("moment", ["2030", "20300131", "1900000000", "-5", "2e9"])
def test_a_number_is_no_date_of_expiry(running: Running, astronaut_jpeg: bytes, moment: str) -> None:
    name = running.collection(f"dates {moment}")
    person = f"/v1/collections/{name}/subjects/ann"
    photo = {"images": ("i", astronaut_jpeg)}
    refused = running.post("/enroll", photo, collection=name, subject="ann", expires_at=moment)
    assert refused.json()["errors"][0]["field"] == "body.expires_at"
    assert running.post("/enroll", photo, collection=name, subject="ann").status_code == 201
    for number in (moment, float(moment)):
        assert running.client.patch(person, json={"expires_at": number}).status_code == 422
    assert running.client.get("/v1/audit", params={"since": moment}).status_code == 422
    assert running.client.get(person).json()["expires_at"] is None
    dated = running.client.patch(person, json={"expires_at": "2130-01-31T12:00:00+02:00"})
    assert dated.json()["expires_at"] == "2130-01-31T10:00:00Z"
