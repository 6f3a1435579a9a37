"""People enrolled with one model are changed over to a model of another space: from crops, and as they are seen."""

from __future__ import annotations

from typing import Any

import pytest
from starlette.testclient import TestClient

from service.keys import Scope
from tests.rollout.conftest import Start, enrol, identify
from tests.rollout.test_shadow import series
from tests.waiting import await_that


def coverage(client: TestClient, model: str) -> dict[str, dict[str, int]]:
    found = client.get(f"/v1/models/{model}/coverage").json()["collections"]
    return {each.pop("collection"): each for each in found}


def finished(client: TestClient, job: dict[str, Any]) -> dict[str, Any]:
    def end() -> dict[str, Any]:
        read = client.get(f"/v1/reembeddings/{job['id']}").json()
        return {} if read["state"] == "running" else dict(read)

    return await_that(end)


def best(answer: dict[str, Any]) -> str:
    assert answer["faces"][0]["decision"] == "match"
    return str(answer["faces"][0]["candidates"][0]["subject"])


@pytest.fixture
def enrolled(start: Start, portrait: bytes, other_portrait: bytes) -> Start:
    """Two people in `visitors`, which keeps crops, and one in `default`, which does not; by the teacher alone."""
    client = start("teacher")
    client.post("/v1/collections", json={"name": "visitors", "keep_crops": True})
    enrol(client, "astronaut", portrait, collection="visitors")
    enrol(client, "admiral", other_portrait, collection="visitors")
    enrol(client, "astronaut", portrait)
    return start


def test_from_crops_and_sight_to_promotion_rollback_and_the_end_of_the_old_templates(
    enrolled: Start, portrait: bytes, dim_portrait: bytes
) -> None:
    client = enrolled("teacher", "stranger", renew_fmr=1e-2, ambiguous_margin=0.0)
    none = {"templates": 0, "shared": 0}
    assert coverage(client, "stranger") == {
        "default": {"faces": 1, "from_crops": 0, "out_of_reach": 1, "to_be_seen": 1, **none},
        "visitors": {"faces": 2, "from_crops": 2, "out_of_reach": 2, "to_be_seen": 0, **none},
    }
    client.put("/v1/roles", json={"champion": "teacher", "challenger": "stranger"})
    assert client.post("/v1/roles/promote").json()["faces"] == {"default": 1, "visitors": 2}

    answer = client.post("/v1/reembeddings", json={"model": "stranger", "rate": 500})
    assert answer.status_code == 202
    done = finished(client, answer.json())
    assert (done["state"], done["total"], done["made"], done["left"]) == ("done", 2, 2, 0)
    assert client.post("/v1/roles/promote").json()["faces"] == {"default": 1}
    # Both models are read until the change: the champion as before, the new one wherever it has templates.
    assert best(identify(client, dim_portrait, fmr="0.1", collection="visitors")) == "astronaut"
    assert best(identify(client, dim_portrait, fmr="0.1", collection="visitors", model="stranger")) == "astronaut"

    assert identify(client, portrait, fmr="0.1")["model"]["name"] == "teacher"
    await_that(lambda: coverage(client, "stranger")["default"]["templates"])  # as somebody is seen again
    promoted = client.post("/v1/roles/promote")
    assert promoted.json()["champion"]["name"] == "stranger"
    assert best(identify(client, dim_portrait, fmr="0.1")) == "astronaut"
    assert series(client, "facet_templates_made_total") == {
        'facet_templates_made_total{model="stranger@1.0.0",source="crop"}': 2.0,
        'facet_templates_made_total{model="stranger@1.0.0",source="sight"}': 1.0,
    }

    assert client.delete("/v1/models/stranger/templates").json()["code"] == "templates_needed"
    assert client.post("/v1/roles/rollback").json()["champion"]["name"] == "teacher"
    assert client.delete("/v1/models/teacher/templates").json()["code"] == "templates_needed"
    assert client.post("/v1/roles/promote").status_code == 200
    receipt = client.delete("/v1/models/teacher/templates").json()
    assert (receipt["kind"], receipt["faces"], receipt["templates"]) == ("model", 0, 3)
    back = client.post("/v1/roles/rollback").json()
    assert (back["code"], back["faces"]) == ("coverage_missing", {"default": 1, "visitors": 2})
    for collection in ("default", "visitors"):
        assert best(identify(client, dim_portrait, fmr="0.1", collection=collection)) == "astronaut"
    assert client.app.state.services.gallery.verify().sound  # type: ignore[attr-defined]


def test_unless_a_setting_allows_it_nobody_gets_a_template_by_being_seen(enrolled: Start, portrait: bytes) -> None:
    client = enrolled("teacher", "stranger")
    assert best(identify(client, portrait, fmr="0.1")) == "astronaut"
    assert not client.app.state.services.observed_templates.waiting()  # type: ignore[attr-defined]
    assert coverage(client, "stranger")["default"]["templates"] == 0


def test_within_a_space_the_champions_templates_serve_until_they_are_made_again(
    enrolled: Start, portrait: bytes
) -> None:
    client = enrolled("teacher", "student")
    assert coverage(client, "student")["visitors"]["shared"] == 2
    client.put("/v1/roles", json={"champion": "student"})
    refused = client.delete("/v1/models/teacher/templates").json()
    assert (refused["code"], refused["faces"]) == ("coverage_missing", {"default": 1, "visitors": 2})
    finished(client, client.post("/v1/reembeddings", json={"model": "student", "rate": 500}).json())
    before = identify(client, portrait, fmr="0.1", collection="visitors")
    assert client.delete("/v1/models/teacher/templates", params={"collection": "visitors"}).json()["templates"] == 2
    after = identify(client, portrait, fmr="0.1", collection="visitors")
    assert best(before) == best(after) == "astronaut"
    assert [model["name"] for model in after["reference_models"]] == ["student"]
    assert best(identify(client, portrait, fmr="0.1")) == "astronaut", "elsewhere the teacher's are searched still"


def test_jobs_are_listed_cancelled_and_refused_twice(enrolled: Start) -> None:
    client = enrolled("teacher", "stranger")
    slow = client.post("/v1/reembeddings", json={"model": "stranger", "collection": "visitors", "rate": 0.01}).json()
    assert (slow["state"], slow["total"], slow["left"]) == ("running", 2, 2)
    for collection in ("visitors", None):
        again = client.post("/v1/reembeddings", json={"model": "stranger", "collection": collection})
        assert again.json()["code"] == "reembedding_running"
    labels = 'collection="visitors",model="stranger@1.0.0"'
    left = series(client, "facet_reembedding_faces")[f'facet_reembedding_faces{{{labels},state="left"}}']
    assert left in (1, 2)  # the first face waits for nobody
    assert client.delete(f"/v1/reembeddings/{slow['id']}").json()["state"] == "cancelled"
    assert client.delete(f"/v1/reembeddings/{slow['id']}").json()["code"] == "reembedding_ended"
    assert client.get("/v1/reembeddings/nothing").json()["code"] == "reembedding_not_found"
    assert client.post("/v1/reembeddings", json={"model": "nobody"}).json()["code"] == "model_not_found"
    unknown = client.post("/v1/reembeddings", json={"model": "stranger", "collection": "nowhere"})
    assert unknown.json()["code"] == "collection_not_found"
    fast = client.post("/v1/reembeddings", json={"model": "stranger", "rate": 500}).json()
    assert finished(client, fast)["made"] >= 1
    assert [job["id"] for job in client.get("/v1/reembeddings").json()["items"]] == [fast["id"], slow["id"]]


def test_a_key_limited_to_a_collection_reaches_no_further(enrolled: Start) -> None:
    client = enrolled("teacher", "stranger", anonymous=False)
    text = client.app.state.services.keys.create("test", [Scope.ADMIN], ["visitors"])[1]  # type: ignore[attr-defined]
    client.headers["X-API-Key"] = text
    assert set(coverage(client, "stranger")) == {"visitors"}
    for body in ({"model": "stranger"}, {"model": "stranger", "collection": "default"}):
        assert client.post("/v1/reembeddings", json=body).json()["code"] == "collection_forbidden"
    assert client.delete("/v1/models/teacher/templates").json()["code"] == "collection_forbidden"
    mine = client.post("/v1/reembeddings", json={"model": "stranger", "collection": "visitors", "rate": 500})
    assert finished(client, mine.json())["made"] == 2
