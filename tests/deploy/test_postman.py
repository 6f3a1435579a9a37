"""The Postman collection is made from the OpenAPI document, and what it sends is what the service takes."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import numpy as np
import pytest
from fastapi.testclient import TestClient
from numpy.typing import NDArray

from service.app import create_app
from service.settings import read_settings
from tests.conftest import ROOT, encode

DOCUMENT = ROOT / "docs" / "openapi.json"
COLLECTION = ROOT / "deploy" / "postman" / "facet.json"
CONTENT: dict[str, Any] = json.loads(COLLECTION.read_text())
REQUESTS: dict[str, dict[str, Any]] = {
    f"{item['request']['method']} /{'/'.join(item['request']['url']['path'])}": item["request"]
    for folder in CONTENT["item"]
    for item in folder["item"]
}
IMAGES = ["POST /v1/enroll", "POST /v1/verify", "POST /v1/identify", "POST /v1/detect", "POST /v1/embed"]
OF_THE_FORM = {
    "bad_request",
    "body_malformed",
    "key_invalid",
    "key_required",
    "media_type_unsupported",
    "method_not_allowed",
    "name_invalid",
    "request_invalid",
    "route_not_found",
}
"""Problems of requests that were made wrongly, whatever the service holds."""


def variables() -> dict[str, str]:
    return {each["key"]: each["value"] for each in CONTENT["variable"]}


def filled(text: str, values: dict[str, str]) -> str:
    for name, value in values.items():
        text = text.replace(f"{{{{{name}}}}}", value)
    assert "{{" not in text, text
    return text


def send(client: httpx.Client, request: dict[str, Any], values: dict[str, str], photo: bytes) -> httpx.Response:
    """Send a request as Postman would: what is switched off stays away, a file is chosen for every file."""
    url = request["url"]
    parts = {f":{each['key']}": filled(each["value"], values) for each in url.get("variable", [])}
    path = "/".join(parts.get(part, part) for part in url["path"])
    query = [(each["key"], each["value"]) for each in url.get("query", []) if not each.get("disabled")]
    headers = {each["key"]: each["value"] for each in request["header"] if not each.get("disabled")}
    if request.get("auth", CONTENT["auth"])["type"] == "bearer":
        headers["Authorization"] = f"Bearer {filled(CONTENT['auth']['bearer'][0]['value'], values)}"
    body, files, content = request.get("body", {}), [], None
    if body.get("mode") == "formdata":
        for field in (field for field in body["formdata"] if not field.get("disabled")):
            part: Any = ("photo.jpg", photo) if field["type"] == "file" else (None, field["value"])
            files.append((field["key"], part))
    elif body:
        content = body["raw"].encode()
    return client.request(
        request["method"], f"/{path}", params=query, headers=headers, files=files or None, content=content
    )


@pytest.fixture(scope="module")
def service(
    model_dirs: tuple[Path, ...], tmp_path_factory: pytest.TempPathFactory
) -> Iterator[tuple[TestClient, dict[str, str]]]:
    """A service, and the collection's variables with a key of it."""
    settings = read_settings(env_file=None, data=tmp_path_factory.mktemp("data"), model_dirs=model_dirs, rate="off")
    keys: list[str] = []
    app = create_app(settings, announce=keys.append)
    with TestClient(app) as client:
        yield client, {**variables(), "key": keys[0]}


def test_it_is_made_from_the_document(tmp_path: Path) -> None:
    made = tmp_path / "collection.json"
    script = ROOT / "deploy" / "postman" / "collection.py"
    subprocess.run([sys.executable, str(script), str(DOCUMENT), str(made)], check=True)
    assert made.read_text() == COLLECTION.read_text(), "run `make docs`"


def test_it_has_every_operation_once() -> None:
    paths = json.loads(DOCUMENT.read_text())["paths"]
    there = [
        f"{method.upper()} {path.replace('{', ':').replace('}', '')}"
        for path, methods in paths.items()
        for method in methods
    ]
    assert sorted(there) == sorted(REQUESTS)
    assert len(there) == sum(len(folder["item"]) for folder in CONTENT["item"])


def test_address_and_key_are_variables() -> None:
    assert variables()["key"] == "", "a collection holds no key"
    assert variables()["base_url"] == "http://127.0.0.1:8000"
    assert {request["url"]["host"][0] for request in REQUESTS.values()} == {"{{base_url}}"}
    assert CONTENT["auth"]["bearer"][0]["value"] == "{{key}}"
    assert "{{key}}" not in json.dumps(CONTENT["item"])


def test_forms_send_images_as_files_and_name_their_own_boundary() -> None:
    for name in IMAGES:
        body, headers = REQUESTS[name]["body"], [header["key"] for header in REQUESTS[name]["header"]]
        assert body["mode"] == "formdata"
        assert "Content-Type" not in headers, "the boundary is the client's to choose"
        files = {field["key"] for field in body["formdata"] if field["type"] == "file"}
        assert files <= {"probe", "reference", "image", "images"}
        assert files


def test_what_it_sends_is_answered(service: tuple[TestClient, dict[str, str]], astronaut: NDArray[np.uint8]) -> None:
    """Nothing is refused for its form: each request is done, or names somebody or something that is not there."""
    client, values = service
    photo = encode(astronaut)
    answers = {name: send(client, REQUESTS[name], values, photo) for name in IMAGES}
    assert {name: answer.status_code for name, answer in answers.items()} == {
        name: 201 if name == "POST /v1/enroll" else 200 for name in IMAGES
    }
    assert answers["POST /v1/verify"].json()["decision"] == "match"
    assert answers["POST /v1/identify"].json()["faces"][0]["candidates"][0]["subject"] == "person-1"
    values = {**values, "face_id": answers["POST /v1/enroll"].json()["images"][0]["face_id"], "job_id": "1"}
    values["request_id"] = answers["POST /v1/verify"].json()["request_id"]
    rest = [name for name in REQUESTS if name not in IMAGES]
    for name in sorted(rest, key=lambda name: name.startswith("DELETE")):  # what is read comes before what is erased
        answer = send(client, REQUESTS[name], values, photo)
        if not answer.is_success:
            assert answer.json()["code"] not in OF_THE_FORM, (name, answer.text)
            assert answer.status_code < 500, (name, answer.text)
