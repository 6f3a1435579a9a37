"""Every operation of the service is either offered by the client, or left out on purpose."""

from __future__ import annotations

import inspect
import json
from typing import Any, get_args, get_type_hints

import facet_client.errors
import pytest
from facet_client import calls, replies
from facet_client.calls import Call, Listing
from facet_client.reading import read

from service.api.http.problems import TABLE
from tests.conftest import ROOT

DOCUMENT = json.loads((ROOT / "docs" / "openapi.json").read_text())
LEFT_OUT = {
    # for operators, who have commands and the console
    "GET /metrics",
    "GET /v1/audit",
    "GET /v1/roles",
    "PUT /v1/roles",
    "POST /v1/roles/promote",
    "POST /v1/roles/rollback",
    "GET /v1/roles/history",
    "GET /v1/comparisons",
    "GET /v1/comparisons/cases",
    "POST /v1/decisions/{request_id}/outcome",
    "GET /v1/models/{name}/coverage",
    "DELETE /v1/models/{name}/templates",
    "POST /v1/models/{name}/load",
    "POST /v1/models/{name}/unload",
    "POST /v1/reembeddings",
    "GET /v1/reembeddings",
    "GET /v1/reembeddings/{job_id}",
    "DELETE /v1/reembeddings/{job_id}",
}
METHODS = ("get", "post", "put", "patch", "delete")


def described() -> dict[str, Call[Any]]:
    """Every call, made with something for each argument that it needs."""
    made = {}
    for name, describe in inspect.getmembers(calls, inspect.isfunction):
        if name.startswith("_") or describe.__module__ != calls.__name__:
            continue
        needed = [each for each in inspect.signature(describe).parameters.values() if each.default is each.empty]
        call = describe(*(b"x" for _ in needed)) if name in ("detect", "embed", "verify", "identify") else None
        call = call or describe(*(b"x" if each.name == "images" else "x" for each in needed))
        made[name] = call.page(None) if isinstance(call, Listing) else call
    return made


def test_every_operation_is_offered_or_left_out_by_name() -> None:
    operations = {
        f"{method.upper()} {route}" for route, item in DOCUMENT["paths"].items() for method in item if method in METHODS
    }
    offered = {f"{call.method} {call.route}" for call in described().values()}
    assert offered <= operations, "the client asks for what is not there"
    assert operations >= LEFT_OUT
    assert operations - offered == LEFT_OUT


def test_every_field_that_can_be_sent_is_a_parameter() -> None:
    for name in ("verify", "identify", "enroll", "detect", "embed"):
        body = DOCUMENT["paths"][f"/v1/{name}"]["post"]["requestBody"]["content"]["multipart/form-data"]["schema"]
        if "$ref" in body:
            body = DOCUMENT["components"]["schemas"][body["$ref"].rpartition("/")[2]]
        assert set(body["properties"]) <= set(inspect.signature(getattr(calls, name)).parameters), name


def test_replies_have_the_members_of_the_document() -> None:
    schemas = DOCUMENT["components"]["schemas"]
    for name, kind in inspect.getmembers(replies, inspect.isclass):
        if kind.__module__ == replies.__name__ and name in schemas:
            members = set(schemas[name]["properties"])
            assert set(get_type_hints(kind)) - {"reasons"} <= members | {"reasons"}, name
            assert members <= set(get_type_hints(kind)), name


def test_codes_are_those_of_the_service() -> None:
    assert facet_client.errors.BY_CODE.keys() <= {kind.code for kind in TABLE}


def test_a_problem_of_an_unknown_code_has_the_class_of_its_status() -> None:
    of = facet_client.errors.problem_of
    assert type(of(404, {"code": "new_not_found"}, "r", None)) is facet_client.errors.NotFound
    assert type(of(507, {"code": "storage_full"}, "r", None)) is facet_client.errors.ServiceFailed
    assert type(of(418, {}, "r", None)) is facet_client.errors.Problem
    assert of(422, {"type": "urn:facet:problem:no_face"}, "r", None).code == "no_face"


def test_what_a_later_service_adds_is_passed_over() -> None:
    health = read(replies.Health, {"status": "dreaming", "version": "9", "dreams": [1]})
    assert (health.status, health.version) == ("dreaming", "9")


@pytest.mark.parametrize("value", [{"status": "alive"}, {"status": "alive", "version": 1}, [], None])
def test_an_answer_of_something_else_is_named(value: object) -> None:
    with pytest.raises(facet_client.errors.AnswerInvalid, match="Health"):
        read(replies.Health, value)


def test_nothing_to_enrol_is_told_at_once() -> None:
    with pytest.raises(ValueError, match="no photograph of 'ann'"):
        calls.enroll("ann", [])


def test_a_page_is_read_with_its_items() -> None:
    page = read(replies.Page[replies.Duplicate], {"items": [{"subject": "ann", "score": 1}], "next_cursor": None})
    assert page == replies.Page((replies.Duplicate("ann", 1.0),), None)
    assert get_args(replies.Page[replies.Duplicate]) == (replies.Duplicate,)
