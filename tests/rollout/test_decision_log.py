"""Comparisons over HTTP: read by window, collection and pair; the truth told by clients."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import timedelta
from typing import Any

import pytest
import sqlalchemy as sa
from starlette.testclient import TestClient

from service.database.schema import decisions, now
from service.keys import Scope
from tests.rollout.conftest import Start, enrol, identify
from tests.rollout.test_shadow import cases_of, series


def key(client: TestClient, *scopes: Scope, collections: list[str] | None = None) -> dict[str, str]:
    return {"X-API-Key": client.app.state.services.keys.create("test", scopes, collections)[1]}  # type: ignore[attr-defined]


@pytest.fixture
def compared(start: Start, portrait: bytes, other_portrait: bytes, dim_portrait: bytes) -> TestClient:
    """A service that has compared six decisions: in two collections and of two images."""
    client = start("teacher", "student", shadow_cpu=1.0, anonymous=False)
    client.headers.update(key(client, Scope.ADMIN))
    client.post("/v1/collections", json={"name": "visitors"})
    for collection in ("default", "visitors"):
        enrol(client, "person-1", portrait, collection=collection)
        enrol(client, "person-2", other_portrait, collection=collection)
    client.put("/v1/roles", json={"champion": "teacher", "challenger": "student", "sample": 1.0})
    for number, image in enumerate((portrait, dim_portrait, other_portrait)):
        files = {"image": ("i.jpg", image, "image/jpeg")}
        client.post("/v1/identify", data={"fmr": "0.01"}, files=files, headers={"X-Request-ID": f"default-{number}"})
    identify(client, portrait, fmr="0.01", collection="visitors")
    both = {"probe": ("p.jpg", portrait, "image/jpeg"), "reference": ("r.jpg", other_portrait, "image/jpeg")}
    client.post("/v1/verify", data={"fmr": "0.01"}, files=both, headers={"X-Request-ID": "strangers"})
    client.post("/v1/verify", data={"threshold": "0.9"}, files=both)
    cases_of(client, 6)
    return client


def read(client: TestClient, **query: Any) -> Mapping[str, Any]:
    answer = client.get("/v1/comparisons", params=query)
    assert answer.status_code == 200, answer.text
    return dict(answer.json())


def test_a_comparison_adds_up_to_its_cases(compared: TestClient) -> None:
    cases = cases_of(compared, 6)
    made = read(compared)
    assert (made["champion"]["name"], made["challenger"]["name"]) == ("teacher", "student")
    assert (made["cases"], made["agreement"]["trials"]) == (6, 6)
    assert made["agreement"]["count"] == sum(case["agree"] for case in cases)
    low, high = made["agreement"]["ci95"]
    assert low < made["agreement"]["share"] <= high
    matches = [(case["champion_decision"] == "match", case["challenger_decision"] == "match") for case in cases]
    assert made["decisions"] == {
        "both_match": matches.count((True, True)),
        "only_champion": matches.count((True, False)),
        "only_challenger": matches.count((False, True)),
        "neither": matches.count((False, False)),
    }
    assert made["decisions"]["both_match"] == 4
    assert made["correlation"] > 0.9
    assert 0 < made["challenger"]["seconds"]["p50"] <= made["challenger"]["seconds"]["p99"]


def test_windows_collections_routes_and_pairs_choose_cases(compared: TestClient) -> None:
    cases = cases_of(compared, 6)
    assert read(compared, collection="visitors")["cases"] == 1
    assert read(compared, collection="default", route="identify")["cases"] == 3
    assert read(compared, route="verify")["cases"] == 2
    assert read(compared, since=cases[3]["at"])["cases"] == 3
    assert read(compared, until=cases[3]["at"])["cases"] == 3
    assert read(compared, champion="student", challenger="teacher")["cases"] == 0
    assert compared.get("/v1/comparisons", params={"champion": "nobody"}).json()["code"] == "model_not_found"
    assert compared.get("/v1/comparisons", params={"since": "yesterday"}).status_code == 422
    compared.post("/v1/roles/promote")
    assert read(compared)["cases"] == 0
    assert read(compared, champion="teacher", challenger="student")["cases"] == 6


def test_cases_come_in_pages_the_newest_first(compared: TestClient) -> None:
    seen: list[str] = []
    query: dict[str, Any] = {"disagreeing": False, "limit": 4}
    for length in (4, 2):
        page = compared.get("/v1/comparisons/cases", params=query).json()
        assert len(page["items"]) == length
        seen += [case["at"] for case in page["items"]]
        query["cursor"] = page["next_cursor"]
    assert page["next_cursor"] is None
    assert seen == sorted(seen, reverse=True)
    disagreeing = compared.get("/v1/comparisons/cases").json()["items"]
    assert len(disagreeing) == 6 - read(compared)["agreement"]["count"]
    assert not any(case["agree"] for case in disagreeing)


def test_the_truth_told_shows_beside_what_was_promised(compared: TestClient) -> None:
    tell = compared.post("/v1/decisions/default-0/outcome", json={"outcome": "genuine"})
    assert tell.status_code == 200, tell.text
    assert tell.json()["outcome"] == "genuine"
    assert compared.post("/v1/decisions/strangers/outcome", json={"outcome": "impostor"}).status_code == 200
    for role in ("champion", "challenger"):
        verify, identify = read(compared)[role]["observed"]
        assert (verify["route"], verify["promised"]) == ("verify", 0.01)
        assert (verify["false_match"]["count"], verify["false_match"]["trials"]) == (0, 1)
        assert verify["false_non_match"] == {"count": 0, "trials": 0, "share": None, "ci95": None}
        assert (identify["false_non_match"]["count"], identify["false_non_match"]["trials"]) == (0, 1)
        assert identify["promised"] is None
    assert sum(series(compared, "facet_comparison_outcomes_total").values()) == 4

    compared.post("/v1/decisions/default-0/outcome", json={"outcome": "impostor"})
    noted = compared.get("/v1/audit", params={"target": "default-0"}).json()["items"]
    assert [(entry["action"], entry["outcome"]) for entry in noted] == [("outcome", "impostor"), ("outcome", "genuine")]
    assert sum(series(compared, "facet_comparison_outcomes_total").values()) == 4, "counted once"
    (identify,) = read(compared, route="identify")["champion"]["observed"]
    assert (identify["false_match"]["count"], identify["false_match"]["trials"]) == (1, 1)
    assert identify["promised"] == pytest.approx(0.01)
    assert compared.post("/v1/decisions/unknown/outcome", json={"outcome": "genuine"}).status_code == 404
    assert compared.post("/v1/decisions/default-0/outcome", json={"outcome": "genuine", "face": 7}).status_code == 404
    assert compared.post("/v1/decisions/default-0/outcome", json={"outcome": "maybe"}).status_code == 422


def test_scopes_and_collections_of_keys_hold(compared: TestClient) -> None:
    reader = key(compared, Scope.READ)
    visitor = key(compared, Scope.READ, Scope.VERIFY, Scope.IDENTIFY, collections=["visitors"])
    verifier = key(compared, Scope.VERIFY)
    roles = {"champion": "teacher"}
    assert compared.put("/v1/roles", json=roles, headers=reader).json()["code"] == "scope_missing"
    limited = key(compared, Scope.ADMIN, collections=["default"])
    assert compared.put("/v1/roles", json=roles, headers=limited).json()["code"] == "collection_forbidden"
    assert compared.get("/v1/roles", headers=reader).status_code == 200
    assert compared.get("/v1/comparisons", headers=verifier).status_code == 403
    assert compared.get("/v1/comparisons", headers=visitor).json()["cases"] == 1
    denied = compared.get("/v1/comparisons", params={"collection": "default"}, headers=visitor)
    assert denied.json()["code"] == "collection_forbidden"
    truth = {"outcome": "genuine"}
    for stranger in (visitor, verifier):  # a decision belongs to the key that asked for it
        for request_id in ("default-1", "strangers"):
            path = f"/v1/decisions/{request_id}/outcome"
            assert compared.post(path, json=truth, headers=stranger).json()["code"] == "decision_not_found"
    assert compared.post("/v1/decisions/default-1/outcome", json=truth, headers=limited).status_code == 200
    assert compared.post("/v1/decisions/strangers/outcome", json=truth).status_code == 200


def test_cases_leave_when_their_time_is_up_though_none_is_sampled_any_more(start: Start) -> None:
    client = start("teacher")
    database = client.app.state.services.gallery.database  # type: ignore[attr-defined]
    old = {"at": now() - timedelta(days=31), "request_id": "old", "route": "verify", "face": 0}
    database.write(lambda connection: connection.execute(sa.insert(decisions).values(**old)))
    client = start("teacher")
    database = client.app.state.services.gallery.database  # type: ignore[attr-defined]
    assert database.read(lambda connection: connection.execute(sa.select(decisions.c.request_id)).all()) == []
