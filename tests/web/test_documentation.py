"""The API's documentation at /docs."""

from __future__ import annotations

import pytest
from playwright.sync_api import expect

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
