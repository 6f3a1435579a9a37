"""Roles and live comparisons."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from playwright.sync_api import expect

from service.keys import Scope
from tests.api.server import Server
from tests.waiting import await_that
from tests.web.console import Console

pytestmark = [pytest.mark.browser, pytest.mark.needs("chromium")]


@pytest.fixture
def embedders(server: Server) -> Iterator[list[str]]:
    """The loaded embedders, the champion first; the roles are put back at the end."""
    with server.client() as client:
        items = client.get("/v1/models").json()["items"]
        items = [item for item in items if item["loaded"] and item["manifest"]["task"] == "embedder"]
        items.sort(key=lambda item: not item["default"])
        names = [f"{item['manifest']['name']}@{item['manifest']['version']}" for item in items]
        yield names
        client.put("/v1/roles", json={"champion": names[0]}).raise_for_status()


def test_roles_are_set_promoted_and_rolled_back(console: Console, embedders: list[str]) -> None:
    first, second = embedders[:2]
    console.enter(view="models")
    page = console.page
    expect(page.locator("#champion")).to_have_value(first)
    page.click("#promote")
    expect(console.message).to_contain_text("challenger_missing")
    page.select_option("#challenger", second)
    expect(console.message).to_be_empty()
    page.fill("#sample", "50")
    page.press("#sample", "Enter")
    expect(console.title).to_have_text(f"{first} answers; {second} is tried on 50 % of the requests")
    state = page.locator("tr", has=page.locator("strong", has_text=second)).first
    expect(state).to_contain_text("challenger")
    page.click("#promote")
    expect(console.title).to_contain_text(f"{second} answers")
    expect(state).to_contain_text("champion")
    console.go("verify")
    expect(page.locator("#model")).to_have_value(second)
    console.go("models")
    page.click("#rollback")
    expect(console.title).to_contain_text(f"{first} answers")
    expect(page.locator("#view")).to_contain_text("rolled back")


def test_the_model_that_was_chosen_stays_chosen_when_models_are_looked_at(
    console: Console, embedders: list[str]
) -> None:
    console.enter(view="verify")
    page = console.page
    page.select_option("#model", embedders[1])
    console.go("models")
    expect(page.locator("#champion")).to_have_value(embedders[0])
    console.go("verify")
    expect(page.locator("#model")).to_have_value(embedders[1])


def test_an_admin_of_some_collections_changes_no_roles(console: Console) -> None:
    console.enter(console.limited_key(Scope.ADMIN, collections=["default"]), "models")
    expect(console.page.locator("#view table").first).to_contain_text("embedder")
    expect(console.page.locator("#set-roles")).to_have_count(0)


def test_live_comparisons_are_shown_with_their_plots(
    console: Console, embedders: list[str], photos: dict[str, Path]
) -> None:
    first, second = embedders[:2]
    pairs = [("astronaut.jpg", "astronaut.jpg"), ("astronaut.jpg", "admiral.jpg")]
    with console.server.client() as client:
        roles = {"champion": first, "challenger": second, "sample": 1.0}
        client.put("/v1/roles", json=roles).raise_for_status()
        before = client.get("/v1/comparisons").json()["cases"]
        for pair in pairs:
            files = dict(zip(("probe", "reference"), (photos[name].read_bytes() for name in pair), strict=True))
            client.post("/v1/verify", files=files).raise_for_status()
        await_that(lambda: client.get("/v1/comparisons").json()["cases"] >= before + 2)
    console.enter(view="live")
    answer = console.answer
    expect(console.title).to_contain_text(f"{first} decides, {second} is tried on 100.0 %")
    expect(answer).to_contain_text("Agreement 100.0 %")
    expect(answer).to_contain_text("2 of 2")
    decisions = answer.locator("table").nth(0).locator("td").all_inner_texts()
    assert decisions == [f"{first} matches", "1", "0", "does not", "0", "1"]
    latency = answer.locator("table").nth(1).locator("tbody tr")
    expect(latency).to_have_count(2)
    assert float(latency.nth(1).locator("td").nth(1).inner_text()) > 0
    expect(answer.locator(".plot")).to_have_count(2)
    expect(answer.locator(".plot circle.agreeing")).to_have_count(2)
    console.page.select_option("#kind", "identify")
    expect(answer).to_contain_text("Agreement -")
    expect(answer.locator(".plot")).to_have_count(0)


def test_the_truth_is_told_about_a_disagreement(
    console: Console, embedders: list[str], photos: dict[str, Path]
) -> None:
    """Between the two models' scores of one pair lies a threshold at which they disagree."""
    first, second = embedders[:2]
    files = {
        name: photos[f"{person}.jpg"].read_bytes()
        for name, person in (("probe", "astronaut"), ("reference", "admiral"))
    }
    with console.server.client() as client:
        scores = [
            client.post("/v1/verify", files=files, data={"model": model}).json()["score"] for model in (first, second)
        ]
        roles = {"champion": first, "challenger": second, "sample": 1.0}
        client.put("/v1/roles", json=roles).raise_for_status()
        between = {"threshold": str(sum(scores) / 2)}
        decided = client.post("/v1/verify", files=files, data=between).json()["request_id"]
        cases = "/v1/comparisons/cases"
        await_that(lambda: decided in [case["request_id"] for case in client.get(cases).json()["items"]])
    console.enter(view="live")
    row = console.answer.locator("tr", has_text=decided[:8])
    row.locator("button", has_text="somebody else").click()
    expect(row.locator("button[aria-pressed=true]")).to_have_text("somebody else")
    console.page.click("#live")
    expect(console.answer).to_contain_text("Told the truth about")
    expect(console.answer.locator(".plot .disagreeing")).to_have_count(1)
