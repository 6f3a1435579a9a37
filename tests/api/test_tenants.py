"""Two tenants of one service: whatever a limited key asks, it learns and changes nothing of the other.

The operations are read from the OpenAPI document: a route that is new is asked here too, or fails for want of a value.
"""

from __future__ import annotations

import itertools
import json
from collections.abc import Iterator
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import pytest
from fastapi.testclient import TestClient

from service.app import create_app
from service.keys import Scope
from service.rollout.errors import DecisionNotFound
from tests.api.conftest import Running, b64, settings_for
from tests.waiting import await_that

OWN, FOREIGN, MISSING = "tenant-a", "tenant-b-secret", "tenant-c-absent"
PERSON, REQUEST, JOB = "Foreign Person", "order-1001", "0" * 8


@dataclass(frozen=True)
class Foreign:
    """What the other tenant has, by the name of the path parameter that would lead there."""

    ids: dict[str, str]
    secrets: frozenset[str]
    key: dict[str, str]


ABSENT = {
    "collection": MISSING,
    "subject": "Absent Person",
    "face_id": "00000000-0000-7000-8000-000000000000",
    "request_id": "absent-1001",
    "job_id": "00000000-0000-7000-8000-000000000001",
    "name": "facet-s",
}


@pytest.fixture(scope="module")
def service(models: tuple[Path, ...], tmp_path_factory: pytest.TempPathFactory) -> Iterator[Running]:
    keys: list[str] = []
    app = create_app(settings_for(tmp_path_factory.mktemp("data"), models), keys.append)
    with TestClient(app, raise_server_exceptions=False) as client:
        client.headers["Authorization"] = f"Bearer {keys[0]}"
        yield Running(app, client, keys[0])


@pytest.fixture(scope="module")
def foreign(service: Running, astronaut_jpeg: bytes) -> Foreign:
    """A person, two sampled decisions, an erasure, a job and roles of the other tenant and of the administrator."""
    client = service.client
    for name in (OWN, FOREIGN):
        made = client.post("/v1/collections", json={"name": name, "keep_crops": True})
        assert made.status_code == 201, made.text
    everything = list(Scope)
    key = service.key_for(*everything, collections=[FOREIGN])
    enrolled = client.post(
        "/v1/enroll",
        json={"collection": FOREIGN, "subject": PERSON, "images": [b64(astronaut_jpeg)], "metadata": {"n": "foreign"}},
        headers=key,
    ).json()
    model = client.get("/v1/roles").json()["champion"]
    name = model["model"]["name"] if "model" in model else model["name"]
    assert client.put("/v1/roles", json={"champion": name, "sample": 1.0}).status_code == 200
    ids = {"collection": FOREIGN, "subject": PERSON, "request_id": REQUEST, "name": name}
    stored = {"subject": PERSON, "collection": FOREIGN}
    for request_id, fields in ((REQUEST, {"reference": b64(astronaut_jpeg)}), ("order-1002", stored)):
        answer = client.post(
            "/v1/verify", json={"probe": b64(astronaut_jpeg), **fields}, headers=key | {"X-Request-ID": request_id}
        )
        assert answer.status_code == 200, answer.text
    _wait_for(service, REQUEST, "order-1002")
    job = client.post("/v1/reembeddings", json={"model": name, "collection": FOREIGN}).json()
    faces = client.get(f"/v1/collections/{FOREIGN}/subjects/{PERSON}/faces").json()["items"]
    erased = client.post(
        "/v1/enroll", json={"collection": FOREIGN, "subject": "Erased Person", "images": [b64(astronaut_jpeg)]}
    ).json()
    assert client.delete(f"/v1/collections/{FOREIGN}/subjects/Erased%20Person").status_code == 200
    receipts = client.get("/v1/receipts").json()["items"]
    ids |= {"job_id": job["id"], "face_id": faces[0]["id"]}
    secrets = {PERSON, "order-1002", job["id"], faces[0]["id"], enrolled["subject"]["id"], erased["subject"]["id"]}
    secrets |= {receipts[-1]["id"], f"key:{service.key.split('_')[1]}"}
    return Foreign(ids, frozenset(secrets), key)


def _wait_for(service: Running, *request_ids: str) -> None:
    def is_kept(request_id: str) -> bool:
        try:
            service.services.decision_log.find(request_id, 0)
        except DecisionNotFound:
            return False
        return True

    for request_id in request_ids:
        await_that(partial(is_kept, request_id))


def operations(service: Running) -> Iterator[tuple[str, str, dict[str, Any]]]:
    for path, methods in service.app.openapi()["paths"].items():
        for method, operation in methods.items():
            yield method.upper(), path, operation


def body_of(operation: dict[str, Any], values: dict[str, str], image: str) -> dict[str, Any] | None:
    content = operation.get("requestBody", {}).get("content", {}).get("application/json")
    if content is None:
        return None
    text = json.dumps(content["example"]).replace("<base64>", image)
    body: dict[str, Any] = json.loads(text)
    for field, parameter in (("collection", "collection"), ("subject", "subject"), ("model", "name")):
        if field in body:
            body[field] = values[parameter]
    return body


def ask(
    service: Running, method: str, path: str, operation: dict[str, Any], values: dict[str, str], image: str, key: Any
) -> Any:
    names = [part[1:-1] for part in path.split("/") if part.startswith("{")]
    address = path.format(**{name: values[name] for name in names}) if names else path
    body = body_of(operation, values, image)
    headers = key | {"X-Request-ID": "probe"}
    return service.client.request(method, address, json=body, headers=headers)


def plain(text: str, values: dict[str, str]) -> str:
    for name, value in sorted(values.items(), key=lambda item: -len(item[1])):
        text = text.replace(value, f"<{name}>")
    return text


def identities(service: Running) -> dict[str, dict[str, str]]:
    made = {scope.value: service.key_for(scope, collections=[OWN]) for scope in Scope}
    return made | {"all": service.key_for(*Scope, collections=[OWN]), "none": {"Authorization": "Bearer nobody"}}


def state(service: Running) -> Any:
    """All that the other tenant has, as it would be exported, and what was judged."""
    client = service.client
    people = client.get(f"/v1/collections/{FOREIGN}/subjects").json()
    faces = client.get(f"/v1/collections/{FOREIGN}/subjects/{PERSON}/faces").json()
    decisions = [service.services.decision_log.find(id_, 0) for id_ in (REQUEST, "order-1002")]
    return client.get(f"/v1/collections/{FOREIGN}").json(), people, faces, decisions, client.get("/v1/roles").json()


def test_nothing_of_another_tenant_is_learned_or_changed(
    service: Running, foreign: Foreign, astronaut_jpeg: bytes
) -> None:
    before = state(service)
    image = b64(astronaut_jpeg)
    asked = 0
    for (identity, key), (method, path, operation) in itertools.product(
        identities(service).items(), operations(service)
    ):
        own = foreign.ids | {"collection": OWN}
        nowhere = ABSENT | {"name": foreign.ids["name"]}
        for there, absent in ((foreign.ids, nowhere), (own, nowhere | {"collection": OWN})):
            if method == "DELETE" and path == "/v1/collections/{collection}" and there["collection"] == OWN:
                continue
            answers = [ask(service, method, path, operation, values, image, key) for values in (there, absent)]
            where = f"{identity} {method} {path}"
            assert all(answer.status_code < 500 for answer in answers), (where, answers[0].text)
            if "{" in path and path.count("{name}") != path.count("{"):
                told = [plain(answer.text, values) for answer, values in zip(answers, (there, absent), strict=True)]
                assert answers[0].status_code == answers[1].status_code, (where, told)
                assert told[0] == told[1], where
            sent = plain(answers[0].text, there)
            assert not [secret for secret in foreign.secrets if secret in sent], (where, sent)
            assert FOREIGN not in sent, (where, sent)
            asked += 2
    assert asked > 500
    assert state(service) == before


def test_only_a_key_that_asked_or_an_admin_judges_a_decision(service: Running, foreign: Foreign) -> None:
    path = f"/v1/decisions/{REQUEST}/outcome"
    stranger = service.key_for(Scope.VERIFY, collections=[OWN])
    unlimited = service.key_for(Scope.VERIFY)
    for key in (stranger, unlimited):
        refused = service.client.post(path, json={"outcome": "impostor"}, headers=key)
        assert (refused.status_code, refused.json()["code"]) == (404, "decision_not_found")
    assert service.services.decision_log.find(REQUEST, 0).outcome is None
    assert service.client.post(path, json={"outcome": "genuine"}, headers=foreign.key).status_code == 200
    assert service.client.post(path, json={"outcome": "genuine"}).status_code == 200


def test_one_request_id_of_two_tenants_is_two_decisions(
    service: Running, foreign: Foreign, astronaut_jpeg: bytes, admiral_jpeg: bytes
) -> None:
    other = service.key_for(Scope.VERIFY, collections=[OWN])
    images = {"probe": b64(astronaut_jpeg), "reference": b64(admiral_jpeg)}
    sent = service.client.post("/v1/verify", json=images, headers=other | {"X-Request-ID": REQUEST})
    assert sent.status_code == 200
    path = f"/v1/decisions/{REQUEST}/outcome"

    def tell() -> Any:
        answer = service.client.post(path, json={"outcome": "impostor"}, headers=other)
        return None if answer.status_code == 404 else answer.json()  # it is noted soon after the answer

    mine = await_that(tell)
    theirs = service.client.post(path, json={"outcome": "genuine"}, headers=foreign.key)
    assert mine["champion_score"] == pytest.approx(sent.json()["score"], abs=1e-3)
    assert theirs.json()["champion_score"] > 0.9
    assert (mine["outcome"], theirs.json()["outcome"]) == ("impostor", "genuine")


def test_pages_of_a_limited_key_are_full(service: Running, foreign: Foreign) -> None:
    key = service.key_for(*Scope, collections=[OWN])
    page = service.client.get("/v1/collections", params={"limit": 1}, headers=key).json()
    assert [item["name"] for item in page["items"]] == [OWN]
    assert page["next_cursor"] is None
    jobs = service.client.get("/v1/reembeddings", headers=key).json()["items"]
    assert {job["collection"] for job in jobs} <= {OWN}
    mine, theirs = (service.client.get("/v1/receipts", headers=each).json()["items"] for each in (key, foreign.key))
    assert theirs
    assert not {receipt["id"] for receipt in mine} & {receipt["id"] for receipt in theirs}


def series(text: str) -> dict[str, float]:
    lines = [line.rsplit(" ", 1) for line in text.splitlines() if not line.startswith("#")]
    return {name: float(value) for name, value in lines}


def test_metrics_name_no_collection_to_who_may_not_know_it(service: Running, foreign: Foreign) -> None:
    def read(headers: dict[str, str]) -> str:
        answer = service.client.get("/metrics", headers=headers)
        assert answer.status_code == 200
        return answer.text

    whole = read({})
    limited = read(service.key_for(Scope.READ, collections=[OWN]))
    public = TestClient(service.app).get("/metrics").text
    assert f'collection="{FOREIGN}"' in whole
    for text in (limited, public):
        assert FOREIGN not in text
    assert 'collection="(other)"' not in limited

    def total(text: str) -> float:
        return sum(value for name, value in series(text).items() if name.startswith("facet_gallery_templates{"))

    assert total(public) == total(whole) > total(limited)
