"""The OpenAPI document is complete, and changes of it are seen."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

import pytest

from service.api.http.body import FORM, JSON
from tests.api.openapi import SNAPSHOT, current

DOCUMENT: dict[str, Any] = json.loads(current())
SCHEMAS = DOCUMENT["components"]["schemas"]


def operations() -> Iterator[tuple[str, dict[str, Any]]]:
    for path, methods in DOCUMENT["paths"].items():
        for method, operation in methods.items():
            yield f"{method.upper()} {path}", operation


def references(node: Any) -> Iterator[str]:
    if isinstance(node, dict):
        if isinstance(node.get("$ref"), str):
            yield node["$ref"]
        for value in node.values():
            yield from references(value)
    elif isinstance(node, list):
        for value in node:
            yield from references(value)


def test_the_document_is_the_one_kept() -> None:
    assert SNAPSHOT.read_text(encoding="utf-8") == current(), "run `python -m tests.api.openapi` and look at the diff"


def test_every_reference_leads_somewhere() -> None:
    assert {ref.removeprefix("#/components/schemas/") for ref in references(DOCUMENT)} <= SCHEMAS.keys()


@pytest.mark.parametrize(("name", "operation"), list(operations()), ids=[name for name, _ in operations()])
def test_every_operation_says_what_it_does_asks_and_answers(name: str, operation: dict[str, Any]) -> None:
    assert operation["summary"]
    assert operation["description"]
    assert operation["tags"]
    if "/v1/" not in name:
        return
    assert operation["security"] == [{"bearer": []}, {"api_key": []}]
    statuses = operation["responses"].keys()
    assert {"401", "403", "422", "429", "500", "503"} <= statuses
    for status, response in operation["responses"].items():
        media = response["content"]
        if int(status) < 400:
            assert "application/problem+json" not in media
        else:
            assert list(media) == ["application/problem+json"]
            assert media["application/problem+json"]["examples"]
        if status in ("429", "503"):
            assert "Retry-After" in response["headers"]
    for parameter in operation.get("parameters", []):
        assert parameter["description"], parameter


@pytest.mark.parametrize("path", ["verify", "identify", "enroll", "detect", "embed"])
def test_images_come_as_form_or_json_with_the_same_fields(path: str) -> None:
    content = DOCUMENT["paths"][f"/v1/{path}"]["post"]["requestBody"]["content"]
    assert set(content) == {FORM, JSON}
    form, body = (SCHEMAS[next(references(content[media])).rsplit("/", 1)[1]] for media in (FORM, JSON))
    assert form["properties"].keys() == body["properties"].keys()
    assert form["required"] == body["required"]
    assert '"format": "binary"' in json.dumps(form)
    assert '"contentEncoding": "base64"' in json.dumps(body)
    assert '"contentEncoding"' not in json.dumps(form)
    assert content[JSON]["example"].keys() <= body["properties"].keys()


def test_every_field_of_a_request_is_described() -> None:
    for name, schema in SCHEMAS.items():
        if name.endswith(("Request", "Form")):
            for field, description in schema["properties"].items():
                text = json.dumps(description)
                assert '"description"' in text, f"{name}.{field}"
