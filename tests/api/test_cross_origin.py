"""Pages of other origins: refused unless a setting names them."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from fastapi.testclient import TestClient

from service.app import create_app
from service.settings import SettingsInvalid
from tests.api.conftest import Running, settings_for

ORIGIN = "https://desk.example.org"
PREFLIGHT = {
    "Origin": ORIGIN,
    "Access-Control-Request-Method": "POST",
    "Access-Control-Request-Headers": "authorization,content-type,idempotency-key",
}


@pytest.fixture(scope="module")
def desk(models: tuple[Path, ...], tmp_path_factory: pytest.TempPathFactory) -> Iterator[TestClient]:
    """A service that pages of one origin may ask, and below a prefix."""
    settings = settings_for(tmp_path_factory.mktemp("desk"), models, cors_origins=(ORIGIN,), path_prefix="/faces")
    with TestClient(create_app(settings, lambda _: None)) as client:
        yield client


def test_no_other_origin_may_ask_by_default(running: Running) -> None:
    answer = running.client.get("/v1/models", headers={"Origin": ORIGIN})
    assert "Access-Control-Allow-Origin" not in answer.headers
    assert running.client.options("/v1/verify", headers=PREFLIGHT).status_code == 405


def test_an_origin_that_a_setting_names_may_ask(desk: TestClient) -> None:
    asked = desk.options("/v1/verify", headers=PREFLIGHT)
    assert asked.status_code == 200
    assert asked.headers["Access-Control-Allow-Origin"] == ORIGIN
    refused = desk.post("/v1/verify", headers={"Origin": ORIGIN})
    assert refused.json()["code"] == "key_required"
    assert refused.headers["Access-Control-Allow-Origin"] == ORIGIN  # so that the page can read the problem
    assert "X-Request-ID" in refused.headers["Access-Control-Expose-Headers"]
    assert "Access-Control-Allow-Credentials" not in refused.headers


def test_another_origin_may_not(desk: TestClient) -> None:
    elsewhere = {**PREFLIGHT, "Origin": "https://elsewhere.example.org"}
    assert desk.options("/v1/verify", headers=elsewhere).status_code == 400
    answer = desk.get("/livez", headers={"Origin": elsewhere["Origin"]})
    assert "Access-Control-Allow-Origin" not in answer.headers


@pytest.mark.parametrize("origin", ["desk.example.org", "https://desk.example.org/", "https://a@b", "null"])
def test_what_is_no_origin_refuses_to_start(tmp_path: Path, origin: str) -> None:
    with pytest.raises(SettingsInvalid, match="FACET_CORS_ORIGINS"):
        settings_for(tmp_path, (), cors_origins=(origin,))


# ---- a prefix


@pytest.mark.parametrize("place", ["/faces", ""])
def test_a_proxy_may_take_the_prefix_away_or_leave_it(desk: TestClient, place: str) -> None:
    assert desk.get(f"{place}/livez").status_code == 200
    assert "<title>Facet</title>" in desk.get(f"{place}/").text
    for file in ("web/console.js", "swagger/swagger-ui.css", "web/docs.js", "docs"):
        assert desk.get(f"{place}/{file}").status_code == 200, file
    assert desk.get(f"{place}/v1/models").json()["code"] == "key_required"
    assert desk.get(f"{place}/v1/nothing").json()["code"] == "route_not_found"
    assert desk.get(f"{place}/openapi.json").json()["servers"] == [{"url": "/faces"}]


def test_the_bare_prefix_leads_to_the_page(desk: TestClient) -> None:
    answer = desk.get("/faces", follow_redirects=False)
    assert (answer.status_code, answer.headers["Location"]) == (308, "/faces/")


def test_without_a_prefix_the_document_names_no_server(running: Running) -> None:
    assert "servers" not in running.app.openapi()


@pytest.mark.parametrize("prefix", ["faces", "/faces/", "/", "/a b", "https://x/faces"])
def test_what_is_no_prefix_refuses_to_start(tmp_path: Path, prefix: str) -> None:
    with pytest.raises(SettingsInvalid, match="FACET_PATH_PREFIX"):
        settings_for(tmp_path, (), path_prefix=prefix)
