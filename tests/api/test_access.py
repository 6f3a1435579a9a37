"""Who may do what: keys, scopes, collections, rates."""

from __future__ import annotations

from datetime import datetime, timedelta
from pathlib import Path

import pytest
from fastapi.testclient import TestClient

from service.app import create_app
from service.keys import Scope
from tests.api.conftest import Running, settings_for

PUBLIC = {"/livez", "/readyz", "/metrics"}

ROUTES: list[tuple[str, str, Scope | None]] = [
    ("POST", "/v1/enroll", Scope.ENROL),
    ("POST", "/v1/verify", Scope.VERIFY),
    ("POST", "/v1/identify", Scope.IDENTIFY),
    ("POST", "/v1/detect", Scope.VERIFY),
    ("POST", "/v1/embed", Scope.VERIFY),
    ("GET", "/v1/collections", Scope.READ),
    ("POST", "/v1/collections", Scope.ADMIN),
    ("GET", "/v1/collections/{collection}", Scope.READ),
    ("PATCH", "/v1/collections/{collection}", Scope.ADMIN),
    ("DELETE", "/v1/collections/{collection}", Scope.ADMIN),
    ("GET", "/v1/collections/{collection}/subjects", Scope.READ),
    ("GET", "/v1/collections/{collection}/subjects/{subject}", Scope.READ),
    ("PATCH", "/v1/collections/{collection}/subjects/{subject}", Scope.ENROL),
    ("DELETE", "/v1/collections/{collection}/subjects/{subject}", Scope.DELETE),
    ("POST", "/v1/collections/{collection}/subjects/{subject}/merge", Scope.ENROL),
    ("GET", "/v1/collections/{collection}/subjects/{subject}/faces", Scope.READ),
    ("GET", "/v1/collections/{collection}/faces/{face_id}", Scope.READ),
    ("GET", "/v1/collections/{collection}/faces/{face_id}/crop", Scope.READ),
    ("PATCH", "/v1/collections/{collection}/faces/{face_id}", Scope.ENROL),
    ("DELETE", "/v1/collections/{collection}/faces/{face_id}", Scope.DELETE),
    ("GET", "/v1/receipts", Scope.ADMIN),
    ("GET", "/v1/audit", Scope.ADMIN),
    ("GET", "/v1/roles", Scope.READ),
    ("PUT", "/v1/roles", Scope.ADMIN),
    ("GET", "/v1/roles/history", Scope.READ),
    ("POST", "/v1/roles/promote", Scope.ADMIN),
    ("POST", "/v1/roles/rollback", Scope.ADMIN),
    ("GET", "/v1/models/{name}/coverage", Scope.READ),
    ("DELETE", "/v1/models/{name}/templates", Scope.ADMIN),
    ("GET", "/v1/reembeddings", Scope.READ),
    ("POST", "/v1/reembeddings", Scope.ADMIN),
    ("GET", "/v1/reembeddings/{job_id}", Scope.READ),
    ("DELETE", "/v1/reembeddings/{job_id}", Scope.ADMIN),
    ("GET", "/v1/comparisons", Scope.READ),
    ("GET", "/v1/comparisons/cases", Scope.READ),
    ("POST", "/v1/decisions/{request_id}/outcome", None),
    ("GET", "/v1/key", None),
    ("GET", "/v1/models", None),
    ("GET", "/v1/models/{name}", None),
    ("GET", "/v1/models/{name}/card", None),
    ("POST", "/v1/models/{name}/load", Scope.ADMIN),
    ("POST", "/v1/models/{name}/unload", Scope.ADMIN),
]
"""Every route with the scope that it asks for; None: any valid key."""


def test_every_route_is_in_the_table(running: Running) -> None:
    paths = running.app.openapi()["paths"]
    served = {(method.upper(), path) for path, methods in paths.items() for method in methods if path not in PUBLIC}
    assert served == {(method, path) for method, path, _ in ROUTES}


@pytest.mark.parametrize(("method", "path", "scope"), ROUTES)
def test_a_route_asks_for_a_key_and_its_scope(running: Running, method: str, path: str, scope: Scope | None) -> None:
    place = path.format(
        collection="not-there", subject="nobody", face_id="none", name="nonesuch", request_id="none", job_id="none"
    )

    def code(headers: dict[str, str]) -> str:
        return str(running.client.request(method, place, headers=headers).json().get("code"))

    running.client.headers.pop("Authorization")
    try:
        assert code({}) == "key_required"
    finally:
        running.client.headers["Authorization"] = f"Bearer {running.key}"
    assert code({"Authorization": "Bearer facet_0000000000_" + "0" * 48}) == "key_invalid"
    if scope is None:
        assert code(running.key_for(Scope.DELETE)) not in ("scope_missing", "key_required")
    else:
        others = [other for other in Scope if other not in (scope, Scope.ADMIN)]
        assert code(running.key_for(*others)) == "scope_missing"
        assert code(running.key_for(scope)) != "scope_missing"


@pytest.mark.parametrize(("method", "path", "scope"), [row for row in ROUTES if "{collection}" in row[1]])
def test_a_key_for_one_collection_touches_no_other(
    running: Running, method: str, path: str, scope: Scope, astronaut_jpeg: bytes
) -> None:
    place = path.format(collection="default", subject="nobody", face_id="none")
    fields = {
        "/v1/collections/{collection}": {"keep_crops": True},
        "/v1/collections/{collection}/faces/{face_id}": {"subject": "x"},
        "/v1/collections/{collection}/subjects/{subject}": {"name": "x"},
        "/v1/collections/{collection}/subjects/{subject}/merge": {"other": "x"},
    }
    body = {"json": fields[path]} if method in ("PATCH", "POST") else {}
    elsewhere = running.key_for(scope, Scope.ADMIN, collections=["elsewhere"])
    answer = running.client.request(method, place, headers=elsewhere, **body)
    assert (answer.status_code, answer.json()["code"]) == (403, "collection_forbidden")


def test_a_key_for_one_collection_decides_in_no_other(running: Running, astronaut_jpeg: bytes) -> None:
    elsewhere = running.key_for(Scope.ADMIN, collections=["elsewhere"])
    image = ("i", astronaut_jpeg)
    answers = [
        running.post("/enroll", {"images": image}, elsewhere, subject="x"),
        running.post("/identify", {"image": image}, elsewhere, threshold="0.4"),
        running.post("/verify", {"probe": image}, elsewhere, subject="x", threshold="0.4"),
        running.client.post("/v1/collections", json={"name": "third"}, headers=elsewhere),
    ]
    assert [answer.json()["code"] for answer in answers] == ["collection_forbidden"] * 4
    running.collection("elsewhere")
    listed = running.client.get("/v1/collections?limit=1000", headers=elsewhere).json()["items"]
    assert [item["name"] for item in listed] == ["elsewhere"]


def test_both_headers_carry_a_key(running: Running) -> None:
    _, text = running.services.keys.create("either", [Scope.READ])
    running.client.headers.pop("Authorization")
    try:
        for headers in ({"Authorization": f"Bearer {text}"}, {"X-API-Key": text}, {"Authorization": f"bearer {text}"}):
            assert running.client.get("/v1/models", headers=headers).status_code == 200
    finally:
        running.client.headers["Authorization"] = f"Bearer {running.key}"


@pytest.mark.parametrize("name", ["key", "api_key", "X-API-Key", "token", "access_token", "anything"])
def test_a_key_in_the_address_is_refused_even_beside_a_good_header(running: Running, name: str) -> None:
    answer = running.client.get("/v1/models", params={name: running.key})
    assert (answer.status_code, answer.json()["code"]) == (400, "key_in_query")
    assert running.key.rsplit("_", 1)[1] not in answer.text


def test_a_misplaced_query_parameter_is_refused_not_ignored(running: Running, astronaut_jpeg: bytes) -> None:
    image = ("i", astronaut_jpeg)
    answer = running.client.post("/v1/verify?fmr=1e-6", files={"probe": image, "reference": image})
    assert (answer.status_code, answer.json()["code"]) == (422, "request_invalid")
    assert "query.fmr" in answer.json()["detail"]


def test_a_key_reads_what_it_may_do(running: Running) -> None:
    made, text = running.services.keys.create(
        "turnstile", [Scope.VERIFY, Scope.IDENTIFY], ["visitors", "staff"], timedelta(days=90)
    )
    answer = running.client.get("/v1/key", headers={"Authorization": f"Bearer {text}"})
    assert answer.status_code == 200
    told = answer.json()
    assert datetime.fromisoformat(told.pop("expires_at")) == made.expires_at
    assert told == {
        "id": made.id,
        "name": "turnstile",
        "scopes": ["identify", "verify"],
        "collections": ["staff", "visitors"],
    }
    first = running.client.get("/v1/key").json()
    assert (first["scopes"], first["collections"], first["expires_at"]) == (["admin"], None, None)
    assert text.rsplit("_", 1)[1] not in answer.text


def test_a_revoked_key_is_refused_at_once(running: Running) -> None:
    made, text = running.services.keys.create("short-lived", [Scope.READ])
    headers = {"Authorization": f"Bearer {text}"}
    assert running.client.get("/v1/models", headers=headers).status_code == 200
    running.services.keys.revoke(made.id)
    assert running.client.get("/v1/models", headers=headers).status_code == 401


def test_beyond_its_rate_a_key_is_told_when_to_come_back(models: tuple[Path, ...], tmp_path: Path) -> None:
    keys: list[str] = []
    app = create_app(settings_for(tmp_path, models, rate="3/hour"), keys.append)
    with TestClient(app) as client:
        headers = {"X-API-Key": keys[0]}
        assert [client.get("/v1/models", headers=headers).status_code for _ in range(4)] == [200, 200, 200, 429]
        refused = client.get("/v1/models", headers=headers)
        assert refused.json()["code"] == "rate_limited"
        assert 1 <= int(refused.headers["Retry-After"]) <= 3600
        _, other = app.state.services.keys.create("other", [Scope.READ])
        assert client.get("/v1/models", headers={"X-API-Key": other}).status_code == 200
        assert client.get("/livez").status_code == 200


def test_without_keys_only_when_asked_for_and_with_a_warning(
    models: tuple[Path, ...], tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    keys: list[str] = []
    with TestClient(create_app(settings_for(tmp_path, models, anonymous=True), keys.append)) as client:
        assert client.get("/v1/collections").status_code == 200
        assert client.get("/v1/collections", headers={"X-API-Key": "wrong"}).status_code == 401
        told = client.get("/v1/key").json()
        assert (told["id"], told["scopes"], told["collections"]) == (None, ["admin"], None)
    assert keys == []
    assert any("FACET_ANONYMOUS" in record.message and record.levelname == "WARNING" for record in caplog.records)


def test_metrics_ask_for_a_key_when_set_so(models: tuple[Path, ...], tmp_path: Path) -> None:
    keys: list[str] = []
    with TestClient(create_app(settings_for(tmp_path, models, metrics_public=False), keys.append)) as client:
        assert client.get("/metrics").status_code == 401
        assert client.get("/metrics", headers={"Authorization": f"Bearer {keys[0]}"}).status_code == 200
