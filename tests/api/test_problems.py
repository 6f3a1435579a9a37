"""Every error ends as a problem, and every problem is documented."""

from __future__ import annotations

import importlib
import pkgutil
import re
from collections.abc import Iterator
from pathlib import Path

import pytest
from starlette.requests import Request

import service
from service.api.http.problems import FRAMEWORK, TABLE, respond, row_of
from service.api.http.request_context import RequestContext
from service.database.errors import StorageFull
from service.errors import FacetError
from service.face.errors import ModelInvalid
from service.keys import Scope
from tests.api.conftest import Running

DOCUMENT = Path(__file__).parents[2] / "docs" / "errors.md"
ROW = re.compile(r"^\| `([a-z_]+)` \| (\d{3}) \| (.+?) \| (.+) \|$", re.MULTILINE)
OUTSIDE_THE_SERVER = ("service.bench", "service.bulk", "service.commands", "service.report", "service.rollout.offline")
"""Packages whose errors only a command line ever sees."""


def every_error() -> Iterator[type[FacetError]]:
    for module in pkgutil.walk_packages(service.__path__, "service."):
        if "__main__" not in module.name and "migrations" not in module.name:
            importlib.import_module(module.name)
    waiting = [FacetError]
    while waiting:
        kind = waiting.pop()
        if not kind.__module__.startswith(OUTSIDE_THE_SERVER) and kind.__module__.startswith("service."):
            yield kind
        waiting += kind.__subclasses__()


def test_every_error_has_a_row_of_its_own() -> None:
    missing = [f"{kind.__module__}.{kind.__name__}" for kind in every_error() if kind not in TABLE]
    assert missing == []


def test_codes_are_stable_names_and_unique() -> None:
    codes = [kind.code for kind in every_error()]
    assert all(re.fullmatch(r"[a-z]+(_[a-z]+)*", code) for code in codes)
    assert sorted(codes) == sorted(set(codes))


def test_every_problem_is_documented_as_it_is_answered() -> None:
    documented = {code: (int(status), title) for code, status, title, _ in ROW.findall(DOCUMENT.read_text())}
    answered = {kind.code: row_of(kind) for kind in every_error()}
    # Some codes come from the framework as well as from an error class; both say the same.
    answered |= {code: (status, title) for status, (code, title) in FRAMEWORK.items()}
    assert documented == answered


def test_every_row_of_the_document_stands_in_a_table_of_its_width() -> None:
    for table in re.findall(r"(?:^\|.*\n)+", DOCUMENT.read_text(), re.MULTILINE):
        head, *rows = table.splitlines()
        assert [row for row in rows if row.count("|") != head.count("|")] == []


@pytest.mark.parametrize(
    ("method", "path", "status", "code"),
    [
        ("GET", "/nothing/here", 404, "route_not_found"),
        ("GET", "/v1/verify", 405, "method_not_allowed"),
        ("DELETE", "/livez", 405, "method_not_allowed"),
        ("GET", "/v1/collections?limit=many", 422, "request_invalid"),
        ("GET", "/v1/collections?limit=0", 422, "request_invalid"),
        ("GET", "/web/../settings.py", 404, "route_not_found"),
        ("GET", "/web/%2e%2e/settings.py", 404, "route_not_found"),
    ],
)
def test_what_the_framework_refuses_is_a_problem_too(
    running: Running, method: str, path: str, status: int, code: str
) -> None:
    answer = running.client.request(method, path)
    assert answer.status_code == status
    assert answer.headers["content-type"] == "application/problem+json"
    problem = answer.json()
    assert problem["code"] == code
    assert problem["status"] == status
    assert problem["type"] == f"urn:facet:problem:{code}"
    assert problem["title"]
    assert problem["detail"]
    assert problem["request_id"] == answer.headers["X-Request-ID"]


def test_an_unexpected_error_tells_nothing_of_the_inside(
    running: Running, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture, astronaut_jpeg: bytes
) -> None:
    def explode(*_: object, **__: object) -> None:
        raise RuntimeError("/secret/path of the inside")

    monkeypatch.setattr(type(running.services.engine), "detect", explode)
    answer = running.post("/detect", {"image": ("i", astronaut_jpeg)})
    assert answer.status_code == 500
    assert answer.json()["code"] == "internal_error"
    for leak in ("secret", "Traceback", "RuntimeError", ".py"):
        assert leak not in answer.text
    logged = [record for record in caplog.records if record.exc_info]
    assert any("/secret/path" in str(record.exc_info[1]) for record in logged if record.exc_info)


def test_a_fault_of_our_own_tells_its_code_and_not_its_message(running: Running) -> None:
    request = Request({"type": "http", "headers": [], "state": {"context": RequestContext("id")}})
    answer = respond(request, ModelInvalid("/models/secret/manifest.json: broken"))
    assert answer.status_code == 500
    assert b"model_invalid" in answer.body
    assert b"/models/secret" not in answer.body


def test_a_failing_store_is_a_503_with_a_time_to_come_back(running: Running, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*_: object, **__: object) -> None:
        raise StorageFull

    monkeypatch.setattr(type(running.services.gallery), "collections", full)
    answer = running.client.get("/v1/collections")
    assert (answer.status_code, answer.json()["code"]) == (507, "storage_full")
    assert int(answer.headers["Retry-After"]) >= 1


@pytest.mark.parametrize(
    ("given", "kept"),
    [("abc-123", True), ("a" * 128, True), ("a" * 129, False), ("new\tline", False), ("<script>", False), ("", False)],
)
def test_request_ids_are_taken_when_plain(running: Running, given: str, kept: bool) -> None:
    answer = running.client.get("/livez", headers={"X-Request-ID": given})
    assert (answer.headers["X-Request-ID"] == given) is kept
    assert re.fullmatch(r"[A-Za-z0-9._:-]{1,128}", answer.headers["X-Request-ID"])


def test_a_401_names_the_scheme(running: Running) -> None:
    answer = running.client.get("/v1/models", headers={"Authorization": "Basic Zm9vOmJhcg=="})
    assert answer.status_code == 401
    assert answer.headers["WWW-Authenticate"] == "Bearer"


def test_every_answer_has_the_security_headers(running: Running) -> None:
    for path in ("/livez", "/nothing", "/v1/models", "/", "/docs", "/web/console.js"):
        headers = running.client.get(path).headers
        assert headers["X-Content-Type-Options"] == "nosniff", path
        assert headers["X-Frame-Options"] == "DENY", path
        assert "'unsafe-inline'" not in headers["Content-Security-Policy"].split("script-src")[-1].split(";")[0], path


def test_scopes_are_documented() -> None:
    text = (DOCUMENT.parent / "api.md").read_text()
    for scope in Scope:
        assert f"`{scope.value}`" in text
