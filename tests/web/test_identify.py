"""One to many: who is on the photograph."""

from __future__ import annotations

from pathlib import Path

import pytest
from playwright.sync_api import expect

from tests.web.console import Console

pytestmark = [pytest.mark.browser, pytest.mark.needs("chromium")]


def test_everybody_on_the_photograph_is_named_on_it(console: Console, photos: dict[str, Path]) -> None:
    console.collection("both", keep_crops=True, Edna=photos["astronaut.jpg"], Gwen=photos["admiral.jpg"])
    console.enter(view="identify")
    page = console.page
    page.select_option("#collection", "both")
    page.set_input_files("#image", photos["both.jpg"])
    page.click("#identify")
    titles = console.answer.locator("h3")
    expect(titles).to_have_count(2)
    assert sorted(titles.all_inner_texts()) == sorted(
        f"Face {index + 1}: Match, {name}" for index, name in enumerate(_order(console))
    )
    drawn = page.locator("[data-photo=image] canvas").get_attribute("aria-label") or ""
    assert "Edna 0." in drawn
    assert "Gwen 0." in drawn
    assert console.marked("image") > 400
    picture = console.answer.locator("td img").first
    expect(picture).to_be_visible()
    assert picture.evaluate("image => image.naturalWidth") == 128
    page.set_input_files("#image", photos["cat.png"])
    page.click("#identify")
    expect(console.title).to_have_text("No face found")


def _order(console: Console) -> list[str]:
    """Who stands first in each face's list of candidates."""
    tables = console.answer.locator("table").all()
    return [table.locator("tbody tr").first.locator("td").nth(2).inner_text() for table in tables]


def test_a_stranger_is_nobody(console: Console, photos: dict[str, Path]) -> None:
    console.collection("one", Edna=photos["astronaut.jpg"])
    console.enter(view="identify")
    console.page.select_option("#collection", "one")
    console.page.set_input_files("#image", photos["admiral.jpg"])
    console.page.click("#identify")
    expect(console.title).to_have_text("Face 1: No match")


def test_an_empty_collection_says_so_in_words(console: Console, photos: dict[str, Path]) -> None:
    console.collection("empty")
    console.enter(view="identify")
    console.page.select_option("#collection", "empty")
    console.page.set_input_files("#image", photos["both.jpg"])
    console.page.click("#identify")
    expect(console.title).to_have_text("Nobody is enrolled in empty yet.")
    expect(console.answer).to_contain_text("2 faces found")
    expect(console.answer).not_to_contain_text("No match")
    expect(console.answer.locator("table")).to_have_count(0)
