"""On every screen the answer is in view, and everybody can read and reach everything (WCAG 2.1 AA, by axe-core)."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from axe_playwright_python.sync_playwright import Axe
from playwright.sync_api import expect

from tests.web.console import Console

pytestmark = [pytest.mark.browser, pytest.mark.needs("chromium")]

SIZES = {"desk": (1280, 900), "laptop": (1366, 768), "phone": (390, 844)}
SCREENS: dict[str, dict[str, Any]] = {
    f"{name} {scheme}": {"viewport": {"width": width, "height": height}, "color_scheme": scheme}
    for name, (width, height) in SIZES.items()
    for scheme in ("light", "dark")
}
LIGHT = [pytest.param(screen, id=name) for name, screen in SCREENS.items() if "light" in name]
EACH = [pytest.param(screen, id=name) for name, screen in SCREENS.items()]
RULES = {"runOnly": {"type": "tag", "values": ["wcag2a", "wcag2aa", "wcag21a", "wcag21aa"]}}


def complaints(console: Console) -> list[str]:
    """What axe finds wrong with what shows now."""
    violations = Axe().run(console.page, options=RULES).response["violations"]
    return [f"{each['id']}: {node['html'][:200]} {node['any'][:1]}" for each in violations for node in each["nodes"]]


def is_as_wide_as_the_window(console: Console) -> bool:
    return bool(console.page.evaluate("() => document.documentElement.scrollWidth <= innerWidth"))


@pytest.mark.parametrize("console", LIGHT, indirect=True)
def test_answers_and_messages_are_in_view(console: Console, photos: dict[str, Path]) -> None:
    console.enter(view="verify")
    page = console.page
    page.set_input_files("#probe", photos["astronaut.jpg"])
    page.click("#verify")
    expect(console.message).to_be_in_viewport(ratio=1)
    page.set_input_files("#reference", photos["admiral.jpg"])
    expect(page.locator("[data-photo=reference] canvas")).to_be_visible()
    page.click("#verify")
    expect(console.title).to_be_in_viewport(ratio=1)
    expect(page.locator(".scale")).to_be_in_viewport(ratio=1)
    page.click("#compare")
    expect(console.answer.locator("tbody tr").last).to_be_in_viewport(ratio=0.3)
    console.go("enrol")
    page.click("#enroll")
    expect(console.message).to_be_in_viewport(ratio=1)
    distance = page.evaluate(
        """() => document.querySelector(".asking .message").getBoundingClientRect().top
                 - document.querySelector("#enroll").getBoundingClientRect().bottom"""
    )
    assert 0 <= distance < 60, "the message stands beside the button that caused it"


@pytest.mark.parametrize("console", EACH, indirect=True)
def test_everything_can_be_read_and_reached(
    console: Console, photos: dict[str, Path], request: pytest.FixtureRequest
) -> None:
    name = request.node.callspec.id
    console.collection(name, keep_crops=True, Edna=photos["astronaut.jpg"])
    console.page.goto(console.server.address)
    expect(console.page.locator("#welcome")).to_be_visible()
    assert complaints(console) == []
    console.enter(view="verify")
    page = console.page
    page.set_input_files("#probe", photos["astronaut.jpg"])
    page.click("#verify")
    expect(console.message).to_be_visible()
    assert complaints(console) == []
    page.set_input_files("#reference", photos["astronaut.jpg"])
    page.click("#verify")
    expect(console.title).to_be_visible()
    page.click("summary >> text=JSON")
    page.click("summary >> text=curl")
    assert complaints(console) == []
    page.click("#compare")
    expect(console.answer.locator("table")).to_be_visible()
    assert complaints(console) == []
    assert is_as_wide_as_the_window(console)
    for view in ("identify", "enrol", "people", "collections", "models", "live", "keys"):
        console.go(view)
        if view == "identify":
            page.select_option("#collection", name)
            page.set_input_files("#image", photos["both.jpg"])
            page.click("#identify")
        if view in ("identify", "people", "live"):
            expect(console.title).to_be_visible()
        if view in ("collections", "models"):
            expect(page.locator("#view tbody tr").first).to_be_visible()
        assert complaints(console) == [], view
        assert is_as_wide_as_the_window(console), view
    console.go("people")
    page.click("[aria-label^='Erase']")
    expect(page.locator("dialog")).to_be_visible()
    assert complaints(console) == []


def test_all_of_it_works_by_keyboard(console: Console, photos: dict[str, Path]) -> None:
    page = console.page
    page.goto(console.server.address)
    expect(page.locator("#key")).to_be_focused()
    page.keyboard.insert_text(console.server.key or "")
    page.keyboard.press("Enter")
    page.wait_for_selector("body[data-state=ready]")
    reached: list[str] = []
    for _ in range(60):
        page.keyboard.press("Tab")
        reached.append(page.evaluate("() => document.activeElement.id || document.activeElement.textContent"))
        if reached[-1] == "verify":
            break
    for stop in ("Verify", "Keys", "model", "rate", "probe", "Camera", "reference", "verify"):
        assert stop in reached
    shown = page.evaluate("() => getComputedStyle(document.activeElement).outlineStyle")
    assert shown == "solid"
    page.keyboard.press("Enter")
    expect(console.message).to_have_text("Choose the photograph first.")
