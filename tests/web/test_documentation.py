"""The API's documentation at /docs."""

from __future__ import annotations

from pathlib import Path

import pytest
from playwright.sync_api import Locator, expect

from tests.web.console import Console

pytestmark = [pytest.mark.browser, pytest.mark.needs("chromium")]


def test_the_documentation_is_served_from_here(console: Console) -> None:
    page = console.page
    page.goto(f"{console.server.address}/docs")
    page.wait_for_selector(".opblock")
    assert page.locator(".opblock").count() >= 20
    page.locator(".opblock-summary-path", has_text="/v1/verify").first.click()
    page.locator(".opblock.is-open .try-out__btn").first.click()
    expect(page.locator(".opblock.is-open input[type=file]").first).to_be_visible()


def opened(console: Console, path: str) -> Locator:
    """The block of an operation, as the documentation offers it to be tried, with the admin's key."""
    page = console.page
    page.goto(f"{console.server.address}/docs")
    page.wait_for_selector(".opblock")
    page.locator(".scheme-container .authorize").click()
    page.locator(".auth-container").first.locator("input").fill(console.server.key or "")
    page.locator(".auth-container").first.locator("button.authorize").click()
    page.locator(".dialog-ux .btn-done").first.click()
    block = page.locator(f"#operations-decisions-{path}")
    block.locator(".opblock-summary-control").click()
    block.locator(".try-out__btn").click()
    return block


def executed(block: Locator) -> str:
    """Press the button, once; returns the status that was answered."""
    block.locator(".execute").click()
    status = block.locator(".live-responses-table .response-col_status").nth(1)
    expect(status).to_be_visible()
    return status.inner_text().split()[0]


def test_trying_out_decides_at_the_first_press(console: Console, photos: dict[str, Path]) -> None:
    block = opened(console, "verify")
    for field in block.locator("input[type=file]").all():
        field.set_input_files(photos["astronaut.jpg"])
    assert executed(block) == "200"
    expect(block.locator(".live-responses-table .highlight-code").first).to_contain_text('"decision": "match"')


def test_trying_out_enrols_and_identifies_at_the_first_press(console: Console, photos: dict[str, Path]) -> None:
    block = opened(console, "enroll")
    block.locator("input[type=file]").first.set_input_files(photos["admiral.jpg"])
    assert executed(block) == "201"
    block = opened(console, "identify")
    block.locator("input[type=file]").first.set_input_files(photos["admiral.jpg"])
    assert executed(block) == "200"
    expect(block.locator(".live-responses-table .highlight-code").first).to_contain_text('"subject": "person-1"')
