"""The page for people and the API's documentation, in a real Chromium."""

from __future__ import annotations

import shutil
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from playwright.sync_api import Page, expect, sync_playwright

from service.database.sqlite.engine import open_engine
from service.keys import Keys, Scope
from tests.api.server import Server, serving

pytestmark = [pytest.mark.browser, pytest.mark.needs("chromium")]

CHROMIUM = shutil.which("chromium")
WAIT = 30_000.0


@pytest.fixture(scope="module")
def server(models: tuple[Path, ...], tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    with serving(tmp_path_factory.mktemp("page") / "data", models) as server:
        yield server


@pytest.fixture
def page() -> Iterator[Page]:
    """A fresh tab. Errors, warnings of the content policy, and requests to elsewhere fail the test."""
    faults: list[str] = []
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox"])
        page = browser.new_page(viewport={"width": 1100, "height": 900})
        page.set_default_timeout(WAIT)
        page.on("pageerror", lambda error: faults.append(f"error: {error}"))
        page.on("console", lambda message: faults.append(message.text) if "Content Security" in message.text else None)
        page.on("request", lambda request: _only_here(request.url, faults))
        yield page
        browser.close()
    assert faults == []


def _only_here(url: str, faults: list[str]) -> None:
    if not url.startswith(("http://127.0.0.1:", "data:", "blob:")):
        faults.append(f"a request went to {url}")


@pytest.fixture
def photos(tmp_path: Path, astronaut_jpeg: bytes, admiral_jpeg: bytes, cat_png: bytes) -> dict[str, Path]:
    made = {"astronaut": astronaut_jpeg, "admiral": admiral_jpeg, "cat": cat_png}
    for name, data in made.items():
        (tmp_path / name).with_suffix(".jpg").write_bytes(data)
    return {name: tmp_path / f"{name}.jpg" for name in made}


def enter(page: Page, server: Server) -> None:
    page.goto(server.address)
    use_key(page, server.key or "")


def use_key(page: Page, key: str) -> None:
    """Enter a key, and wait for what the page asks about it last."""
    page.fill("#key", key)
    with page.expect_response("**/v1/roles"):
        page.press("#key", "Tab")
    page.wait_for_selector("body[data-state=ready]")


def painted(page: Page, canvas: str) -> int:
    """How many pixels of a canvas have the colour that fit faces are marked with."""
    return int(
        page.evaluate(
            """(selector) => {
              const canvas = document.querySelector(selector);
              const data = canvas.getContext("2d").getImageData(0, 0, canvas.width, canvas.height).data;
              let count = 0;
              for (let i = 0; i < data.length; i += 4)
                if (data[i] === 0x2e && data[i + 1] === 0xa0 && data[i + 2] === 0x43) count++;
              return count;
            }""",
            canvas,
        )
    )


def test_a_person_is_verified_enrolled_and_identified(page: Page, server: Server, photos: dict[str, Path]) -> None:
    enter(page, server)
    title = page.locator("#result h2").first
    page.set_input_files("#probe", photos["astronaut"])
    page.click("#detect")
    expect(title).to_have_text("1 face")
    assert painted(page, "[data-photo=probe] canvas") > 200, "the face is marked in the photo"
    page.set_input_files("#reference", photos["astronaut"])
    page.click("#verify")
    expect(title).to_contain_text("Match, score")
    expect(page.locator("#result")).to_contain_text("false match rate")
    page.set_input_files("#reference", photos["admiral"])
    page.click("#verify")
    expect(title).to_contain_text("No match")
    page.set_input_files("#reference", [])
    page.fill("#subject", "the astronaut")
    page.click("#enroll")
    expect(title).to_have_text("the astronaut has 1 face enrolled")
    page.click("#identify")
    expect(title).to_have_text("Face 1: Match, the astronaut")
    page.set_input_files("#probe", photos["admiral"])
    page.click("#identify")
    expect(title).to_have_text("Face 1: No match")


def test_one_pair_is_compared_by_every_model(page: Page, server: Server, photos: dict[str, Path]) -> None:
    enter(page, server)
    names = page.locator("#model option").all_inner_texts()
    assert names
    page.set_input_files("#probe", photos["astronaut"])
    page.set_input_files("#reference", photos["admiral"])
    page.click("#compare")
    rows = page.locator("#result tbody tr, #result table tr").filter(has=page.locator("td"))
    expect(rows).to_have_count(len(names))
    for row, name in enumerate(names):
        expect(rows.nth(row)).to_contain_text(name)
        expect(rows.nth(row)).to_contain_text("No match")


def test_a_score_can_be_given_instead_of_a_rate(page: Page, server: Server, photos: dict[str, Path]) -> None:
    enter(page, server)
    page.select_option("#rate", "threshold")
    page.fill("#threshold", "-1")
    page.set_input_files("#probe", photos["astronaut"])
    page.set_input_files("#reference", photos["admiral"])
    page.click("#verify")
    expect(page.locator("#result h2")).to_contain_text("Match, score")


def test_live_comparisons_are_shown_to_those_who_may_read(
    page: Page, server: Server, photos: dict[str, Path], astronaut_jpeg: bytes, admiral_jpeg: bytes
) -> None:
    with server.client() as client:
        loaded = [item["manifest"] for item in client.get("/v1/models").json()["items"] if item["loaded"]]
        embedders = [f"{known['name']}@{known['version']}" for known in loaded if known["task"] == "embedder"]
        first, second = embedders[:2]
        roles = {"champion": first, "challenger": second, "sample": 1.0}
        client.put("/v1/roles", json=roles).raise_for_status()
        for reference in (astronaut_jpeg, admiral_jpeg):
            client.post("/v1/verify", files={"probe": astronaut_jpeg, "reference": reference}).raise_for_status()
        until = time.monotonic() + WAIT / 1000
        while client.get("/v1/comparisons").json()["cases"] < 2:
            assert time.monotonic() < until
            time.sleep(0.1)
    enter(page, server)
    page.click("#live")
    result = page.locator("#result")
    expect(result.locator("h2").first).to_contain_text(f"{first} decides, {second} is tried on 100.0 %")
    expect(result).to_contain_text("Agreement 100.0 %")
    expect(result).to_contain_text("2 of 2")
    decisions = result.locator("table").nth(0).locator("td").all_inner_texts()
    assert decisions == [f"{first} matches", "1", "0", "does not", "0", "1"]
    latency = result.locator("table").nth(1).locator("tr")
    expect(latency).to_have_count(3)
    assert float(latency.nth(2).locator("td").nth(1).inner_text()) > 0


def test_who_may_not_read_is_not_shown_what_another_key_was(page: Page, server: Server) -> None:
    engine = open_engine(server.log.parent / "data")
    deciding, reading = (Keys(engine).create(scope, [scope], ["default"])[1] for scope in (Scope.VERIFY, Scope.READ))
    engine.dispose()
    live, result = page.locator("#live"), page.locator("#result")
    page.goto(server.address)
    expect(live).to_be_hidden()
    use_key(page, deciding)
    expect(live).to_be_hidden()
    use_key(page, reading)
    live.click()
    expect(result.locator("h2").first).to_contain_text("decides")
    use_key(page, deciding)
    expect(live).to_be_hidden()
    expect(result).to_be_empty()
    use_key(page, reading)
    live.click()
    expect(result.locator("h2").first).to_contain_text("decides")
    page.fill("#key", "facet_wrong")
    page.press("#key", "Tab")
    expect(page.locator("#message")).to_contain_text("key_invalid")
    expect(live).to_be_hidden()
    expect(result).to_be_empty()


def test_what_goes_wrong_is_said(page: Page, server: Server, photos: dict[str, Path]) -> None:
    page.goto(server.address)
    page.fill("#key", "facet_wrong")
    page.press("#key", "Tab")
    expect(page.locator("#message")).to_contain_text("key_invalid")
    enter(page, server)
    page.click("#verify")
    expect(page.locator("#message")).to_have_text("Choose the photo first.")
    page.set_input_files("#probe", photos["cat"])
    page.click("#identify")
    expect(page.locator("#result")).to_contain_text("No face found")


def test_the_key_stays_in_the_tab(page: Page, server: Server) -> None:
    enter(page, server)
    kept = page.evaluate("() => [sessionStorage.getItem('facet-key'), localStorage.length, document.cookie]")
    assert kept == [server.key, 0, ""]
    page.reload()
    page.wait_for_selector("body[data-state=ready]")
    assert (server.key or "") not in page.url


def test_the_documentation_is_served_from_here(page: Page, server: Server) -> None:
    page.goto(f"{server.address}/docs")
    page.wait_for_selector(".opblock")
    assert page.locator(".opblock").count() >= 20
    page.locator(".opblock-summary-path", has_text="/v1/verify").first.click()
    page.locator(".opblock.is-open .try-out__btn").first.click()
    expect(page.locator(".opblock.is-open input[type=file]").first).to_be_visible()
