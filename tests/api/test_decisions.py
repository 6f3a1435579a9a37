"""Enrol, verify, identify, detect and embed over HTTP, with real faces."""

from __future__ import annotations

import asyncio
import json
import math
from collections import Counter
from dataclasses import replace
from typing import Any

import cv2
import numpy as np
import pytest
import sqlalchemy as sa
from numpy.typing import NDArray

from service.database.schema import audit
from service.face.embedding.embed import Embedder
from service.gallery.gallery import Gallery
from service.keys import Scope
from tests.api.conftest import Running, b64
from tests.conftest import encode

FMR = "0.01"
"""A rate that every embedder's calibration supports."""


def image(data: bytes, name: str = "image") -> dict[str, tuple[str, bytes]]:
    return {name: ("photo", data)}


def pair(probe: bytes, reference: bytes) -> dict[str, tuple[str, bytes]]:
    return {**image(probe, "probe"), **image(reference, "reference")}


def test_one_person_matches_and_two_do_not(running: Running, astronaut_jpeg: bytes, admiral_jpeg: bytes) -> None:
    same = running.post("/verify", pair(astronaut_jpeg, astronaut_jpeg), fmr=FMR)
    other = running.post("/verify", pair(astronaut_jpeg, admiral_jpeg), fmr=FMR)
    assert same.status_code == other.status_code == 200
    assert (same.json()["decision"], other.json()["decision"]) == ("match", "no_match")
    assert same.json()["score"] > 0.99
    assert other.json()["score"] < other.json()["threshold"]


@pytest.mark.parametrize("reason", ["negative", "too_blurred", "occluded"])
def test_a_rate_measured_on_fit_faces_is_not_claimed_for_unfit_ones(
    running: Running, astronaut: NDArray[np.uint8], astronaut_jpeg: bytes, reason: str
) -> None:
    spoilt = {
        "negative": 255 - astronaut,
        "too_blurred": cv2.GaussianBlur(astronaut, (0, 0), 6),
        "occluded": cv2.line(astronaut.copy(), (190, 104), (260, 104), (15, 15, 20), 30),  # both eyes
    }
    unfit = encode(np.asarray(spoilt[reason], np.uint8))
    for photographs in (pair(unfit, astronaut_jpeg), pair(astronaut_jpeg, unfit)):
        decision = running.post("/verify", photographs, fmr=FMR).json()
        assert reason in decision["probe"]["quality"]["reasons"] + decision["reference"]["quality"]["reasons"]
        assert (decision["fmr_basis"], decision["fmr_ci95"]) == ("outside_calibration", None)
    assert running.post("/verify", pair(unfit, astronaut_jpeg), threshold="0.3").json()["fmr_basis"] == "given"
    refused = running.post("/verify", pair(unfit, astronaut_jpeg), fmr=FMR, quality="enforce")
    assert (refused.status_code, refused.json()["code"]) == (422, "face_unfit")
    assert reason in refused.json()["reasons"]


def test_a_decision_carries_all_that_explains_it(running: Running, astronaut_jpeg: bytes, both_jpeg: bytes) -> None:
    decision = running.post("/verify", pair(both_jpeg, astronaut_jpeg), fmr=FMR).json()
    embedder = running.services.engine.models.default
    assert decision["fmr"] == float(FMR)
    assert decision["fmr_basis"] == "measured"
    assert decision["threshold"] == running.services.engine.models.thresholds(embedder).at(float(FMR)).value
    assert decision["model"] == {
        "name": embedder.manifest.name,
        "version": embedder.manifest.version,
        "digest": embedder.digest,
    }
    assert decision["probe_faces"] == 2
    for face in (decision["probe"], decision["reference"]):
        assert face["box"]["width"] > 20
        assert len(face["landmarks"]) == 5
        assert 0.6 <= face["detection_score"] <= 1
    assert {"wait", "decode", "detect", "align", "embed"} <= decision["timings"].keys()
    assert all(seconds >= 0 for seconds in decision["timings"].values())


def test_an_enrolment_runs_every_model_once_for_each_face(
    running: Running, astronaut_jpeg: bytes, admiral_jpeg: bytes, monkeypatch: pytest.MonkeyPatch
) -> None:
    name, run, faces = running.collection("once"), Embedder.run, Counter[str]()

    def counted(self: Embedder, crops: NDArray[np.uint8]) -> Any:
        faces[self.digest] += len(crops)
        return run(self, crops)

    monkeypatch.setattr(Embedder, "run", counted)
    files = [("images", ("a", astronaut_jpeg)), ("images", ("b", b"no image")), ("images", ("c", admiral_jpeg))]
    made = running.post("/enroll", files, subject="two", collection=name)
    assert [image["problem"] is None for image in made.json()["images"]] == [True, False, True]
    assert faces == {embedder.digest: 2 for embedder in running.services.engine.models.embedders}
    monkeypatch.undo()
    found = running.post("/identify", image(admiral_jpeg), collection=name, fmr=FMR).json()["faces"][0]
    assert found["decision"] == "match"


def test_an_enrolment_gives_its_worker_away_while_it_is_committed(
    running: Running, astronaut_jpeg: bytes, monkeypatch: pytest.MonkeyPatch
) -> None:
    name, commit, loads = running.collection("resting"), Gallery.enroll, []

    def watched(self: Gallery, *args: Any, **kwargs: Any) -> Any:
        loads.append(running.services.executor.load())
        return commit(self, *args, **kwargs)

    monkeypatch.setattr(Gallery, "enroll", watched)
    assert running.post("/enroll", image(astronaut_jpeg, "images"), subject="ann", collection=name).status_code == 201
    assert [(load.running, load.resting) for load in loads] == [(0, 1)]


def test_json_and_form_decide_alike(running: Running, astronaut_jpeg: bytes, admiral_jpeg: bytes) -> None:
    form = running.post("/verify", pair(astronaut_jpeg, admiral_jpeg), fmr=FMR).json()
    body = {"probe": b64(astronaut_jpeg), "reference": b64(admiral_jpeg), "fmr": float(FMR)}
    sent = running.client.post("/v1/verify", json=body).json()
    for answer in (form, sent):
        del answer["timings"], answer["request_id"]
    assert form == sent


def test_a_reference_may_be_looked_at_otherwise_than_the_probe(
    running: Running, both_jpeg: bytes, astronaut_jpeg: bytes
) -> None:
    lenient = running.post("/verify", pair(both_jpeg, astronaut_jpeg), fmr=FMR, reference_faces="single")
    assert lenient.status_code == 200
    strict = running.post("/verify", pair(astronaut_jpeg, both_jpeg), fmr=FMR, reference_faces="single")
    assert (strict.status_code, strict.json()["code"], strict.json()["image"]) == (422, "several_faces", "reference")
    both = running.post("/verify", pair(astronaut_jpeg, both_jpeg), fmr=FMR, faces="single")
    assert both.json()["image"] == "reference"
    one = running.post("/verify", pair(astronaut_jpeg, both_jpeg), fmr=FMR, faces="single", reference_faces="prominent")
    assert one.status_code == 200


def test_the_quality_of_a_reference_may_be_enforced_alone(
    running: Running, astronaut: NDArray[np.uint8], astronaut_jpeg: bytes
) -> None:
    dark = encode((astronaut * 0.06).astype(np.uint8))
    assert running.post("/verify", pair(dark, astronaut_jpeg), fmr=FMR, reference_quality="enforce").status_code == 200
    refused = running.post("/verify", pair(astronaut_jpeg, dark), fmr=FMR, reference_quality="enforce")
    assert (refused.json()["code"], refused.json()["image"]) == ("face_unfit", "reference")
    stored = running.post("/verify", {"probe": ("i", dark)}, subject="ann", fmr=FMR, reference_quality="enforce")
    assert (stored.status_code, stored.json()["code"]) == (422, "request_invalid")


def test_a_given_threshold_decides(running: Running, astronaut_jpeg: bytes, admiral_jpeg: bytes) -> None:
    lenient = running.post("/verify", pair(astronaut_jpeg, admiral_jpeg), threshold="-1").json()
    strict = running.post("/verify", pair(astronaut_jpeg, admiral_jpeg), threshold="1").json()
    assert (lenient["decision"], strict["decision"]) == ("match", "no_match")
    assert lenient["fmr_basis"] == strict["fmr_basis"] == "given"


def test_an_unsupported_rate_names_the_supported_ones(running: Running, astronaut_jpeg: bytes) -> None:
    answer = running.post("/verify", pair(astronaut_jpeg, astronaut_jpeg), fmr="1e-12")
    assert answer.status_code == 422
    assert answer.json()["code"] == "threshold_unsupported"
    rates = [row.fmr for row in running.services.engine.models.default.manifest.thresholds]
    assert answer.json()["supported_fmr"] == rates


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"fmr": "0.01", "threshold": "0.4"}, "not both"),
        ({"fmr": "maybe"}, "body.fmr"),
        ({"fmr": "nan"}, "body.fmr"),
        ({"fmr": "0"}, "body.fmr"),
        ({"threshold": "inf"}, "body.threshold"),
        ({"threshold": "1.5"}, "body.threshold"),
        ({"faces": "some"}, "body.faces"),
        ({"quality": "true"}, "body.quality"),
        ({"colour": "red"}, "body.colour"),
        ({"subject": "x"}, "exactly one"),
        ({"collection": "x"}, "collection belongs to subject"),
        ({"model": ""}, "body.model"),
    ],
)
def test_wrong_fields_are_named(running: Running, astronaut_jpeg: bytes, fields: dict[str, str], message: str) -> None:
    answer = running.post("/verify", pair(astronaut_jpeg, astronaut_jpeg), **fields)
    assert answer.status_code == 422
    assert answer.json()["code"] == "request_invalid"
    assert message in answer.json()["detail"]
    assert answer.json()["errors"]


def test_numbers_in_json_must_be_numbers(running: Running, astronaut_jpeg: bytes) -> None:
    body = {"probe": b64(astronaut_jpeg), "reference": b64(astronaut_jpeg)}
    for wrong in ("0.01", True, [0.01]):
        answer = running.client.post("/v1/verify", json={**body, "fmr": wrong})
        assert answer.status_code == 422, wrong
        assert "body.fmr" in answer.json()["detail"]


def test_an_unknown_model_is_not_found(running: Running, astronaut_jpeg: bytes) -> None:
    answer = running.post("/verify", pair(astronaut_jpeg, astronaut_jpeg), model="nonesuch", threshold="0.4")
    assert (answer.status_code, answer.json()["code"]) == (404, "model_not_found")


def test_images_without_a_face_or_with_two(running: Running, cat_png: bytes, both_jpeg: bytes) -> None:
    none = running.post("/verify", pair(cat_png, cat_png), threshold="0.4")
    assert (none.status_code, none.json()["code"]) == (422, "no_face")
    several = running.post("/verify", pair(both_jpeg, both_jpeg), threshold="0.4", faces="single")
    assert (several.status_code, several.json()["code"]) == (422, "several_faces")


def test_unfit_faces_are_refused_with_reasons_when_asked(running: Running, astronaut: np.ndarray) -> None:
    dark = encode((astronaut // 10).astype(np.uint8), "PNG")
    reported = running.post("/detect", image(dark)).json()["faces"]
    assert reported, "the detector should still see this face"
    assert "too_dark" in reported[0]["quality"]["reasons"]
    refused = running.post("/verify", pair(dark, dark), threshold="0.4", quality="enforce")
    assert (refused.status_code, refused.json()["code"]) == (422, "face_unfit")
    assert "too_dark" in refused.json()["reasons"]


def test_enrolled_people_are_identified_and_strangers_are_not(
    running: Running, astronaut_jpeg: bytes, admiral_jpeg: bytes
) -> None:
    name = running.collection("identified")
    made = running.post("/enroll", image(astronaut_jpeg, "images"), subject="astronaut", collection=name)
    assert made.status_code == 201
    assert made.json()["created"] is True
    assert made.json()["subject"]["faces"] == 1
    known = running.post("/identify", image(astronaut_jpeg), collection=name, fmr=FMR).json()
    assert known["comparisons"] == 1
    assert known["fpir"] == pytest.approx(float(FMR))
    (face,) = known["faces"]
    assert face["decision"] == "match"
    assert [c["subject"] for c in face["candidates"]] == ["astronaut"]
    assert face["candidates"][0]["face_id"] == made.json()["images"][0]["face_id"]
    stranger = running.post("/identify", image(admiral_jpeg), collection=name, fmr=FMR).json()
    assert stranger["faces"][0]["decision"] == "no_match"


def test_two_subjects_with_one_face_are_ambiguous_and_each_appears_once(
    running: Running, astronaut_jpeg: bytes, admiral_jpeg: bytes
) -> None:
    name = running.collection("ambiguous")
    for subject in ("first", "second"):
        for _ in range(2):
            files = image(astronaut_jpeg, "images")
            assert running.post("/enroll", files, subject=subject, collection=name).status_code == 201
    (face,) = running.post("/identify", image(astronaut_jpeg), collection=name, fmr=FMR).json()["faces"]
    assert face["decision"] == "ambiguous"
    assert sorted(c["subject"] for c in face["candidates"]) == ["first", "second"]
    assert [c["rank"] for c in face["candidates"]] == [1, 2]
    assert face["margin"] == pytest.approx(0, abs=1e-3)
    only = running.post("/identify", image(astronaut_jpeg), collection=name, fmr=FMR, top_k="1").json()["faces"][0]
    assert len(only["candidates"]) == 1
    assert only["decision"] == "ambiguous", "the decision does not depend on how many candidates are shown"


def test_all_faces_of_an_image_are_identified(
    running: Running, astronaut_jpeg: bytes, admiral_jpeg: bytes, both_jpeg: bytes, cat_png: bytes
) -> None:
    name = running.collection("everybody")
    running.post("/enroll", image(astronaut_jpeg, "images"), subject="astronaut", collection=name)
    running.post("/enroll", image(admiral_jpeg, "images"), subject="admiral", collection=name)
    found = running.post("/identify", image(both_jpeg), collection=name, fmr=FMR, faces="all").json()["faces"]
    assert sorted(face["candidates"][0]["subject"] for face in found) == ["admiral", "astronaut"]
    assert [face["decision"] for face in found] == ["match", "match"]
    nobody = running.post("/identify", image(cat_png), collection=name, fmr=FMR, faces="all")
    assert nobody.json()["faces"] == []


def test_the_threshold_follows_the_size_of_the_gallery(running: Running, astronaut_jpeg: bytes) -> None:
    name = running.collection("growing")
    thresholds = []
    for number in range(3):
        running.post("/enroll", image(astronaut_jpeg, "images"), subject=f"person-{number}", collection=name)
        answer = running.post("/identify", image(astronaut_jpeg), collection=name, fmr=FMR).json()
        assert answer["comparisons"] == number + 1
        assert answer["fpir"] == pytest.approx(float(FMR))
        thresholds.append(answer["threshold"])
    assert thresholds == sorted(set(thresholds))


def test_verify_against_a_stored_subject(running: Running, astronaut_jpeg: bytes, admiral_jpeg: bytes) -> None:
    name = running.collection("stored")
    made = running.post("/enroll", image(astronaut_jpeg, "images"), subject="astronaut", collection=name).json()
    asked = {"collection": name, "subject": "astronaut", "fmr": FMR}
    same = running.post("/verify", image(astronaut_jpeg, "probe"), **asked).json()
    assert same["decision"] == "match"
    assert same["reference"] is None
    assert same["subject"]["face_id"] == made["images"][0]["face_id"]
    assert running.post("/verify", image(admiral_jpeg, "probe"), **asked).json()["decision"] == "no_match"
    missing = running.post("/verify", image(astronaut_jpeg, "probe"), **{**asked, "subject": "nobody"})
    assert (missing.status_code, missing.json()["code"]) == (404, "subject_not_found")


def test_several_images_are_kept_or_refused_one_by_one(
    running: Running, astronaut_jpeg: bytes, cat_png: bytes, both_jpeg: bytes
) -> None:
    name = running.collection("one-by-one")
    files = [("images", ("i", data)) for data in (astronaut_jpeg, cat_png, both_jpeg, b"not an image")]
    answer = running.post("/enroll", files, subject="person", collection=name, metadata=json.dumps({"team": 7}))
    assert answer.status_code == 201
    codes = [entry["problem"] and entry["problem"]["code"] for entry in answer.json()["images"]]
    assert codes == [None, "no_face", "several_faces", "image_unsupported"]
    assert [entry["face_id"] is not None for entry in answer.json()["images"]] == [True, False, False, False]
    assert answer.json()["subject"]["faces"] == 1
    assert answer.json()["subject"]["metadata"] == {"team": 7}
    refused = running.post("/enroll", files[1:], subject="nobody", collection=name)
    assert (refused.status_code, refused.json()["code"]) == (422, "enrolment_refused")
    assert [entry["code"] for entry in refused.json()["images"]] == codes[1:]
    assert running.client.get(f"/v1/collections/{name}/subjects/nobody").status_code == 404


def test_duplicates_are_allowed_named_or_refused(running: Running, astronaut_jpeg: bytes) -> None:
    name = running.collection("duplicates")

    def enroll(subject: str, duplicate: str) -> object:
        files = image(astronaut_jpeg, "images")
        return running.post("/enroll", files, subject=subject, collection=name, duplicate=duplicate, fmr=FMR)

    assert enroll("first", "reject").status_code == 201
    refused = enroll("second", "reject")
    assert (refused.status_code, refused.json()["code"]) == (409, "duplicate_subject")
    assert refused.json()["duplicates"][0]["subject"] == "first"
    warned = enroll("third", "warn")
    assert warned.status_code == 201
    assert [entry["subject"] for entry in warned.json()["duplicates"]] == ["first"]
    assert enroll("fourth", "allow").json()["duplicates"] == []


def test_a_repeated_enrolment_is_answered_and_not_repeated(running: Running, astronaut_jpeg: bytes) -> None:
    name = running.collection("repeated")
    key = {"Idempotency-Key": "5b1f7f0e"}

    def enroll(subject: str, headers: dict[str, str]) -> object:
        return running.post("/enroll", image(astronaut_jpeg, "images"), headers, subject=subject, collection=name)

    first, again = enroll("person", key), enroll("person", key)
    assert first.status_code == again.status_code == 201
    assert first.content == again.content
    assert "Idempotency-Replayed" not in first.headers
    assert again.headers["Idempotency-Replayed"] == "true"
    assert running.client.get(f"/v1/collections/{name}/subjects/person").json()["faces"] == 1
    conflict = enroll("somebody else", key)
    assert (conflict.status_code, conflict.json()["code"]) == (409, "idempotency_conflict")
    other = running.key_for(Scope.ENROL)
    assert "Idempotency-Replayed" not in enroll("person", {**key, **other}).headers, "keys of others are apart"


def test_detect_finds_faces_and_finding_none_is_no_error(running: Running, both_jpeg: bytes, cat_png: bytes) -> None:
    found = running.post("/detect", image(both_jpeg)).json()
    assert len(found["faces"]) == 2
    assert (found["width"], found["height"]) == (1024, 512)
    assert running.post("/detect", image(cat_png)).json()["faces"] == []


def test_embed_gives_the_vectors_that_verify_compares(
    running: Running, astronaut_jpeg: bytes, admiral_jpeg: bytes
) -> None:
    vectors, offsets = [], []
    for data in (astronaut_jpeg, admiral_jpeg):
        (face,) = running.post("/embed", image(data)).json()["faces"]
        assert math.sqrt(sum(x * x for x in face["embedding"])) == pytest.approx(1, abs=1e-4)
        vectors.append(face["embedding"])
        offsets.append(face["offset"])
    score = running.post("/verify", pair(astronaut_jpeg, admiral_jpeg), threshold="0").json()["score"]
    assert float(np.dot(*vectors)) + sum(offsets) == pytest.approx(score, abs=1e-3)


def test_decisions_are_written_to_the_audit_log(running: Running, astronaut_jpeg: bytes) -> None:
    sent = {"X-Request-ID": "audit-me-1"}
    assert running.post("/verify", pair(astronaut_jpeg, astronaut_jpeg), sent, fmr=FMR).status_code == 200
    running.services.gallery.database.write(lambda connection: None)  # whatever was deferred is committed with this
    with running.services.gallery.database.engine.connect() as connection:
        row = connection.execute(sa.select(audit).where(audit.c.request_id == "audit-me-1")).one()
    assert (row.action, row.outcome) == ("verify", "match")
    assert row.principal.startswith("key:")
    models = running.services.engine.models
    assert row.threshold == models.thresholds(models.default).at(float(FMR)).value


def test_an_answer_that_lacks_faces_says_so(
    running: Running, both_jpeg: bytes, astronaut_jpeg: bytes, monkeypatch: pytest.MonkeyPatch
) -> None:
    collection = running.collection("truncated")
    running.post("/enroll", image(astronaut_jpeg, "images"), collection=collection, subject="astronaut")
    whole = running.post("/detect", image(both_jpeg)).json()
    assert (len(whole["faces"]), whole["faces_total"], whole["truncated"]) == (2, 2, False)
    engine = running.services.engine
    monkeypatch.setattr(engine, "limits", replace(engine.limits, max_faces=1))
    for path, fields in {
        "/detect": {},
        "/embed": {},
        "/identify": {"collection": collection, "faces": "all", "fmr": FMR},
    }.items():
        answer = running.post(path, image(both_jpeg), **fields).json()
        assert (len(answer["faces"]), answer["faces_total"], answer["truncated"]) == (1, 2, True), path


def test_a_turned_face_is_told_its_roll(running: Running, astronaut: np.ndarray, astronaut_jpeg: bytes) -> None:
    """Box and landmarks are places in the image as sent, and the person matches."""
    upright = running.post("/detect", image(astronaut_jpeg)).json()["faces"][0]
    sent = encode(np.ascontiguousarray(np.rot90(astronaut)))
    turned = running.post("/detect", image(sent)).json()["faces"][0]
    assert abs(upright["roll"]) < 10
    assert turned["roll"] == pytest.approx(-90, abs=10)
    for (x, y), (u, v) in zip(upright["landmarks"], turned["landmarks"], strict=True):
        assert (u, v) == pytest.approx((y, 512 - x), abs=8)
    assert running.post("/verify", pair(sent, astronaut_jpeg), fmr=FMR).json()["decision"] == "match"


@pytest.mark.parametrize("place", ["probe", "reference"])
@pytest.mark.parametrize(
    ("kind", "code"), [("cat", "no_face"), ("both", "several_faces"), ("noise", "image_unsupported")]
)
def test_an_error_says_which_image_it_is_about(
    running: Running,
    astronaut_jpeg: bytes,
    cat_png: bytes,
    both_jpeg: bytes,
    place: str,
    kind: str,
    code: str,
) -> None:
    bad = {"cat": cat_png, "both": both_jpeg, "noise": b"no image at all"}[kind]
    images = {"probe": astronaut_jpeg, "reference": astronaut_jpeg} | {place: bad}
    files = {name: ("i", data) for name, data in images.items()}
    problem = running.client.post("/v1/verify", data={"faces": "single"}, files=files).json()
    assert (problem["code"], problem["image"]) == (code, place)


def test_a_refused_enrolment_says_which_images_are_at_fault(running: Running, cat_png: bytes, both_jpeg: bytes) -> None:
    files = [("images", ("i", cat_png)), ("images", ("i", both_jpeg))]
    problem = running.client.post("/v1/enroll", data={"subject": "x"}, files=files).json()
    assert [(each["image"], each["code"]) for each in problem["images"]] == [
        ("images[0]", "no_face"),
        ("images[1]", "several_faces"),
    ]


@pytest.mark.parametrize("route", ["/verify", "/identify", "/enroll", "/embed"])
def test_a_record_that_hangs_does_not_hold_up_the_event_loop(
    running: Running, monkeypatch: pytest.MonkeyPatch, astronaut_jpeg: bytes, route: str
) -> None:
    collection = running.collection(f"slow{route.replace('/', ' ')}")
    asked: list[bool] = []
    database = running.services.gallery.database
    read = database.read

    def watched_read(work: Any) -> Any:
        asked.append(asyncio._get_running_loop() is not None)
        return read(work)

    monkeypatch.setattr(database, "read", watched_read)
    monkeypatch.setattr(running.services.roles, "_fresh_until", float("-inf"))  # the champion is to be looked up
    fields = {"collection": collection, "subject": "ann", "images": [b64(astronaut_jpeg)]}
    if route != "/enroll":
        fields = {"image": b64(astronaut_jpeg)}
    if route == "/verify":
        fields = {"probe": b64(astronaut_jpeg), "reference": b64(astronaut_jpeg), "fmr": float(FMR)}
    answer = running.client.post(f"/v1{route}", json=fields)
    assert answer.is_success, answer.text
    assert asked
    assert not any(asked)


def test_a_gate_that_would_not_be_kept_is_refused(running: Running, astronaut_jpeg: bytes) -> None:
    answer = running.post("/identify", image(astronaut_jpeg), faces="all", quality="enforce", fmr=FMR)
    assert (answer.status_code, answer.json()["code"]) == (422, "request_invalid")
    assert running.post("/identify", image(astronaut_jpeg), faces="all", quality="report", fmr=FMR).is_success
