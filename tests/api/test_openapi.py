"""The OpenAPI document is complete, and changes of it are seen."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

import pytest

from service.api.http.body import FORM, JSON
from service.api.openapi_document import Bodies, document
from service.app import create_app
from service.settings import read_settings
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


# ---- what code generators need


def nodes(node: Any) -> Iterator[dict[str, Any]]:
    if isinstance(node, dict):
        yield node
    for value in node.values() if isinstance(node, dict) else node if isinstance(node, list) else ():
        yield from nodes(value)


def test_operations_have_the_names_that_a_client_would_give_them() -> None:
    names = [operation["operationId"] for _, operation in operations()]
    assert len(names) == len(set(names))
    assert all(name.isidentifier() for name in names)
    assert {"verify", "identify", "enroll", "list_subjects", "delete_face", "read_crop"} <= set(names)


def test_every_component_has_a_name_that_is_a_class_name() -> None:
    assert [name for name in SCHEMAS if not name.isidentifier() or "_" in name] == []


def test_every_operation_has_the_error_model() -> None:
    for name, operation in operations():
        assert "#/components/schemas/Problem" in list(references(operation["responses"])), name


def test_an_operation_of_two_bodies_has_a_parameter_too() -> None:
    """As openapi-python-client needs it to make a module that can be imported."""
    for name, operation in operations():
        if len(operation.get("requestBody", {}).get("content", {})) > 1:
            assert operation["parameters"], name


def test_equal_items_and_missing_values_are_said_as_generators_understand_them() -> None:
    for node in nodes(DOCUMENT):
        assert "prefixItems" not in node
        assert node.get("default", "") is not None


def test_the_document_with_forms_alone_has_one_body_an_operation_and_nothing_loose() -> None:
    forms = document(create_app(read_settings(env_file=None)), Bodies.FORMS)
    bodies = [
        set(operation["requestBody"]["content"])
        for methods in forms["paths"].values()
        for operation in methods.values()
        if "requestBody" in operation
    ]
    assert all(len(body) == 1 for body in bodies)
    assert bodies.count({FORM}) == 5
    schemas = forms["components"]["schemas"]
    assert {ref.removeprefix("#/components/schemas/") for ref in references(forms)} <= schemas.keys()
    assert forms["paths"].keys() == DOCUMENT["paths"].keys()
