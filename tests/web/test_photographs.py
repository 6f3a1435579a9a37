"""Photographs: dropped, pasted, taken with the camera."""

from __future__ import annotations

from pathlib import Path

import pytest
from playwright.sync_api import expect

from tests.web.console import Console

pytestmark = [pytest.mark.browser, pytest.mark.needs("chromium")]


def note(console: Console, photograph: str) -> str:
    return f"[data-photo={photograph}] .note"


def test_a_photograph_is_dropped_anywhere_on_its_place(console: Console, photos: dict[str, Path]) -> None:
    console.enter(view="verify")
    page = console.page
    console.drop("[data-photo=reference] .hint", photos["admiral.jpg"])
    expect(page.locator(note(console, "reference"))).to_have_text("admiral.jpg")
    expect(page.locator(note(console, "probe"))).to_be_empty()
    console.drop("[data-photo=reference] canvas", photos["astronaut.jpg"])
    expect(page.locator(note(console, "reference"))).to_have_text("astronaut.jpg")


def test_a_photograph_that_misses_its_place_is_taken_all_the_same(console: Console, photos: dict[str, Path]) -> None:
    console.enter(view="verify")
    page = console.page
    address = page.url
    console.drop("h2", photos["astronaut.jpg"], photos["admiral.jpg"])
    expect(page.locator(note(console, "probe"))).to_have_text("astronaut.jpg")
    expect(page.locator(note(console, "reference"))).to_have_text("admiral.jpg")
    page.click("#verify")
    expect(console.title).to_contain_text("No match")
    assert page.url == address


def test_photographs_are_pasted_where_there_is_room(console: Console, photos: dict[str, Path]) -> None:
    console.enter(view="verify")
    page = console.page
    console.paste(photos["astronaut.jpg"])
    expect(page.locator(note(console, "probe"))).to_have_text("astronaut.jpg")
    console.paste(photos["admiral.jpg"])
    expect(page.locator(note(console, "reference"))).to_have_text("admiral.jpg")
    page.focus("#reference")
    console.paste(photos["astronaut.jpg"])
    expect(page.locator(note(console, "reference"))).to_have_text("astronaut.jpg")


def test_several_photographs_are_dropped_to_enrol(console: Console, photos: dict[str, Path]) -> None:
    console.collection("dropped")
    console.enter(view="enrol")
    page = console.page
    page.select_option("#collection", "dropped")
    console.drop("[data-photo=photograph-1]", photos["astronaut.jpg"], photos["the astronaut's closer.jpg"])
    expect(page.locator(".photo")).to_have_count(3)
    page.fill("#subject", "ann")
    page.click("#enroll")
    expect(console.title).to_have_text("ann has 2 faces enrolled")


def test_a_photograph_is_taken_with_the_camera(console: Console, photos: dict[str, Path]) -> None:
    console.enter(view="verify")
    page = console.page
    page.click("[data-photo=probe] button:has-text('Camera')")
    page.click("dialog button:has-text('Cancel')")
    expect(page.locator("dialog")).to_have_count(0)
    expect(page.locator(note(console, "probe"))).to_be_empty()
    page.click("[data-photo=probe] button:has-text('Camera')")
    page.click("dialog button:has-text('Take photograph')")
    expect(page.locator(note(console, "probe"))).to_have_text("camera.jpg")
    page.set_input_files("#reference", photos["astronaut.jpg"])
    page.click("#verify")
    expect(console.title).to_contain_text("Match, score")
