"""Bodies: limits hold before anything is decoded, and nothing is fetched on a caller's word."""

from __future__ import annotations

import base64
import json
import socket
from collections.abc import Iterator
from contextlib import ExitStack, closing
from pathlib import Path

import pytest
from fastapi.testclient import TestClient

from service.api.http.body import BodyLimits, Intake, decode_base64
from service.api.schemas.requests import DetectRequest
from service.app import create_app
from service.runtime.executor import Overloaded
from tests.api.conftest import Running, b64, settings_for

BODY = 64 * 1024
IMAGE = 32 * 1024


@pytest.fixture(scope="module")
def small(models: tuple[Path, ...], tmp_path_factory: pytest.TempPathFactory) -> Iterator[TestClient]:
    """A service with small limits."""
    settings = settings_for(
        tmp_path_factory.mktemp("small"), models, max_body_bytes=BODY, max_image_bytes=IMAGE, anonymous=True
    )
    with TestClient(create_app(settings)) as client:
        yield client


def test_a_declared_length_beyond_the_limit_is_refused(small: TestClient) -> None:
    answer = small.post("/v1/detect", files={"image": ("i", b"x" * (BODY + 1))})
    assert (answer.status_code, answer.json()["code"]) == (413, "body_too_large")


def test_a_body_of_unknown_length_is_cut_off_at_the_limit(small: TestClient) -> None:
    sent = 0

    def endless() -> Iterator[bytes]:
        nonlocal sent
        for _ in range(1000):
            sent += 1024
            yield b" " * 1024

    answer = small.post("/v1/detect", content=endless(), headers={"Content-Type": "application/json"})
    assert (answer.status_code, answer.json()["code"]) == (413, "body_too_large")


def test_an_image_beyond_the_limit_is_refused_before_decoding(small: TestClient) -> None:
    big = b"\xff\xd8" + b"x" * IMAGE
    for answer in (
        small.post("/v1/detect", files={"image": ("i", big)}),
        small.post("/v1/detect", json={"image": b64(big)}),
    ):
        assert (answer.status_code, answer.json()["code"]) == (413, "image_too_large")


def test_too_many_parts_are_refused(small: TestClient) -> None:
    answer = small.post("/v1/enroll", files=[("images", ("i", b"x")) for _ in range(60)])
    assert (answer.status_code, answer.json()["code"]) == (413, "too_many_parts")


def test_too_many_images_are_named(small: TestClient) -> None:
    answer = small.post("/v1/enroll", data={"subject": "x"}, files=[("images", ("i", b"x")) for _ in range(21)])
    assert (answer.status_code, answer.json()["code"]) == (422, "request_invalid")
    assert "body.images" in answer.json()["detail"]


@pytest.mark.parametrize("media", ["text/plain", "application/x-www-form-urlencoded", "", "image/jpeg"])
def test_other_media_types_are_refused(small: TestClient, media: str) -> None:
    answer = small.post("/v1/detect", content=b"x", headers={"Content-Type": media})
    assert (answer.status_code, answer.json()["code"]) == (415, "media_type_unsupported")


def test_forms_are_refused_where_only_json_is_taken(small: TestClient) -> None:
    answer = small.post("/v1/collections", files={"name": ("x", b"y")})
    assert (answer.status_code, answer.json()["code"]) == (415, "media_type_unsupported")


@pytest.mark.parametrize(
    "body", ["", "{", "[" * 100_000, '{"image": "', "\x00", '{"image": "\\ud800"}', "nan"], ids=range(7)
)
def test_what_is_not_json_is_malformed(small: TestClient, body: str) -> None:
    content = body.encode()[: BODY - 1]
    answer = small.post("/v1/detect", content=content, headers={"Content-Type": "application/json"})
    assert (answer.status_code, answer.json()["code"]) == (400, "body_malformed")


@pytest.mark.parametrize("body", ["[]", "null", "3", '"image"', '{"image": null}', '{"image": 7}', "{}"])
def test_json_of_another_shape_is_invalid(small: TestClient, body: str) -> None:
    answer = small.post("/v1/detect", content=body, headers={"Content-Type": "application/json"})
    assert (answer.status_code, answer.json()["code"]) == (422, "request_invalid")


@pytest.mark.parametrize(
    ("headers", "content"),
    [
        ("multipart/form-data", b"x"),
        ("multipart/form-data; boundary=", b"x"),
        ("multipart/form-data; boundary=b", b"x"),
        ("multipart/form-data; boundary=b", b"--b\r\nno colon\r\n\r\nx\r\n--b--"),
        ("multipart/form-data; boundary=b", b"--b\r\nContent-Disposition: form-data\r\n\r\nx\r\n--b--"),
        ("multipart/form-data; boundary=b; charset=nonesuch", b'--b\r\nContent-Disposition: form-data; name="\xff"'),
    ],
    ids=range(6),
)
def test_broken_forms_are_refused(small: TestClient, headers: str, content: bytes) -> None:
    answer = small.post("/v1/detect", content=content, headers={"Content-Type": headers})
    assert answer.status_code in (400, 422)
    assert answer.json()["code"] in ("body_malformed", "request_invalid")


def test_a_repeated_part_is_refused(small: TestClient) -> None:
    answer = small.post("/v1/detect", files=[("image", ("i", b"x")), ("image", ("i", b"y"))])
    assert (answer.status_code, answer.json()["code"]) == (422, "request_invalid")
    assert "2 times" in answer.json()["detail"]


def test_compressed_bodies_are_refused(small: TestClient) -> None:
    headers = {"Content-Type": "application/json", "Content-Encoding": "gzip"}
    assert small.post("/v1/detect", content=b"x", headers=headers).status_code == 415


def test_no_address_and_no_path_is_ever_fetched(small: TestClient, tmp_path: Path, astronaut_jpeg: bytes) -> None:
    file = tmp_path / "face.jpg"
    file.write_bytes(astronaut_jpeg)
    with closing(socket.create_server(("127.0.0.1", 0))) as server:
        for place in (f"http://127.0.0.1:{server.getsockname()[1]}/x.jpg", f"file://{file}", str(file)):
            for answer in (
                small.post("/v1/detect", json={"image": place}),
                small.post("/v1/detect", data={"image": place}, files={"other": ("o", b"")}),
                small.post("/v1/detect", files={"image": (place, place.encode())}),
            ):
                assert answer.status_code in (415, 422)
                assert "faces" not in answer.json()
        server.setblocking(False)
        with pytest.raises(BlockingIOError):  # who had connected would wait here
            server.accept()


def test_the_sent_values_do_not_come_back_in_problems(small: TestClient) -> None:
    marker = "a-name-nobody-should-log"
    answer = small.post("/v1/enroll", json={"subject": marker + "/", "images": [marker], "fmr": marker})
    assert answer.status_code == 422
    assert marker not in answer.text
    assert len(json.dumps(answer.json())) < 2000


def test_bodies_held_at_once_are_bounded() -> None:
    intake = Intake(100)
    with intake.hold("a", 60):
        with pytest.raises(Overloaded), intake.hold("b", 60):
            pass
        with intake.hold("b", 40):
            pass
    with intake.hold("a", 100):
        pass


def test_bodies_held_at_once_are_bounded_for_each_caller() -> None:
    intake = Intake(100)
    with intake.hold("a", 30), intake.hold("a", 20):
        with pytest.raises(Overloaded), intake.hold("a", 10):
            pass
        with intake.hold("b", 40):
            pass


def test_small_bodies_are_counted_as_well() -> None:
    intake = Intake(512 * 1000)
    with ExitStack() as stack:
        for _ in range(256):
            stack.enter_context(intake.hold("a", 1))
        with pytest.raises(Overloaded), intake.hold("a", 1):
            pass
        with intake.hold("b", 1):
            pass


def test_too_many_images_are_told_in_words(running: Running, cat_png: bytes) -> None:
    files = [("images", ("i", cat_png)) for _ in range(21)]
    answer = running.client.post("/v1/enroll", data={"subject": "ann"}, files=files)
    assert (answer.status_code, answer.json()["code"]) == (422, "request_invalid")
    assert answer.json()["errors"] == [
        {"field": "body.images", "message": "takes at most 20, and 21 were sent"},
    ]


@pytest.mark.parametrize("value", [{"b": 1}, ["b"], "x" * 1001])
def test_a_wrong_fact_is_told_once_and_under_its_name(running: Running, cat_png: bytes, value: object) -> None:
    body = {"subject": "ann", "images": [b64(cat_png)], "metadata": {"badge": value}}
    (fault,) = running.client.post("/v1/enroll", json=body).json()["errors"]
    assert fault["field"] == "body.metadata.badge"
    assert fault["message"] == "must be a text of at most 1,000 characters, a number, true, false or null"


def test_metadata_is_as_long_in_a_form_as_in_json(running: Running) -> None:
    facts = {f"fact-{number}": "é" * 1000 for number in range(50)}
    asked = {"subject": "ann", "metadata": json.dumps(facts)}
    in_form = running.client.post("/v1/enroll", data=asked, files={"images": ("i", b"no image")})
    in_json = running.client.post("/v1/enroll", json=asked | {"metadata": facts, "images": [b64(b"no image")]})
    assert (in_form.status_code, in_form.json()["code"]) == (in_json.status_code, in_json.json()["code"])
    assert in_form.json()["code"] == "enrolment_refused"


def test_values_without_number_are_refused_in_a_form_before_they_are_read(running: Running) -> None:
    asked = {"subject": "ann", "metadata": "[" * 100_000}
    answer = running.client.post("/v1/enroll", data=asked, files={"images": ("i", b"no image")})
    assert (answer.status_code, answer.json()["code"]) == (400, "body_malformed")


def test_the_largest_image_fits_in_lines_and_with_every_slash_escaped() -> None:
    image = bytes(range(256)) * 4096
    text = b64(image)
    lines = "\r\n".join(text[start : start + 64] for start in range(0, len(text), 64))
    sent = json.dumps({"image": lines}).replace("/", "\\/")
    assert len(sent) <= BodyLimits(1 << 30, len(image), 1, 1.0).of(DetectRequest).max_bytes


SPELLINGS = {
    "plain": lambda text: text,
    "a data: address": lambda text: f"data:image/jpeg;base64,{text}",
    "lines": lambda text: "\n".join(text[start : start + 76] for start in range(0, len(text), 76)) + "\n",
    "lines of Windows": lambda text: "\r\n".join(text[start : start + 76] for start in range(0, len(text), 76)),
    "for addresses": lambda text: text.replace("+", "-").replace("/", "_"),
    "without padding": lambda text: text.rstrip("="),
}


@pytest.mark.parametrize("spelling", SPELLINGS)
@pytest.mark.parametrize("cut", [0, 1, 2])
def test_base64_is_taken_as_people_have_it(spelling: str, cut: int) -> None:
    data = bytes(range(256)) * 3000
    data = data[: len(data) - cut]
    assert decode_base64(SPELLINGS[spelling](base64.b64encode(data).decode())) == data


@pytest.mark.parametrize(
    "text",
    ["https://example.org/i.jpg", "/tmp/i.jpg", "YWJj=", "YWJjZA=", "Y", "YW=Jj", "data:image/jpeg,YWJj", "YWJjé"],
)
def test_what_is_no_base64_is_refused(running: Running, text: str) -> None:
    answer = running.client.post("/v1/detect", json={"image": text})
    assert (answer.status_code, answer.json()["errors"][0]["field"]) == (422, "body.image")
    assert "must be base64" in answer.json()["errors"][0]["message"]
