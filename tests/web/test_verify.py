"""One to one: two photographs, or a photograph and somebody enrolled; and no answer outlives its question."""

from __future__ import annotations

import json
import os
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest
from PIL import Image, ImageFilter
from playwright.sync_api import Page, Route, expect

from tests.web.console import Console

pytestmark = [pytest.mark.browser, pytest.mark.needs("chromium")]


@pytest.fixture
def matched(console: Console, photos: dict[str, Path]) -> Console:
    """The console with a match on it."""
    console.enter(view="verify")
    console.page.set_input_files("#probe", photos["astronaut.jpg"])
    console.page.set_input_files("#reference", photos["the astronaut's closer.jpg"])
    console.page.click("#verify")
    expect(console.title).to_contain_text("Match, score")
    return console


def test_two_photographs_are_compared_and_the_faces_marked(matched: Console, photos: dict[str, Path]) -> None:
    page = matched.page
    expect(matched.answer).to_contain_text("false match rate")
    expect(matched.answer).to_contain_text("of 1,000 strangers compared, one would pass")
    assert matched.marked("probe") > 200, "the face is marked in the photograph"
    assert matched.marked("reference") > 200
    assert "score" in (page.locator(".scale").get_attribute("aria-label") or "")
    page.set_input_files("#reference", photos["admiral.jpg"])
    page.click("#verify")
    expect(matched.title).to_contain_text("No match")
    page.click("#detect")
    expect(matched.title).to_have_text("2 faces")
    assert matched.marked("probe") > 200


def test_an_unfit_face_is_said_to_be_beside_the_calibration(
    matched: Console, photos: dict[str, Path], tmp_path: Path
) -> None:
    blurred = tmp_path / "blurred.png"
    Image.open(photos["astronaut.jpg"]).filter(ImageFilter.GaussianBlur(5)).save(blurred)
    matched.page.set_input_files("#reference", blurred)
    matched.page.click("#verify")
    expect(matched.answer).to_contain_text("At a false match rate of 0.001 on fit faces: of 1,000 strangers compared")
    expect(matched.answer).to_contain_text("A face here is unfit, so more may.")


def test_a_score_can_be_given_instead_of_a_rate(matched: Console, photos: dict[str, Path]) -> None:
    page = matched.page
    page.set_input_files("#reference", photos["admiral.jpg"])
    page.select_option("#rate", "threshold")
    page.fill("#threshold", "-1")
    page.click("#verify")
    expect(matched.title).to_contain_text("Match, score")
    expect(matched.answer).to_contain_text("The score was given")


def test_one_pair_is_compared_by_every_model(matched: Console, photos: dict[str, Path]) -> None:
    page = matched.page
    names = page.locator("#model option").all_inner_texts()
    assert len(names) > 1
    page.set_input_files("#reference", photos["admiral.jpg"])
    page.click("#compare")
    rows = matched.answer.locator("tbody tr")
    expect(rows).to_have_count(len(names))
    for row, name in enumerate(names):
        expect(rows.nth(row)).to_contain_text(name)
        expect(rows.nth(row)).to_contain_text("No match")


def test_a_photograph_is_compared_with_somebody_enrolled(console: Console, photos: dict[str, Path]) -> None:
    console.collection("crew", edna=photos["astronaut.jpg"], gwen=photos["admiral.jpg"])
    console.enter(view="verify")
    page = console.page
    page.set_input_files("#probe", photos["astronaut.jpg"])
    page.check("#against-person")
    expect(page.locator("[data-photo=reference]")).to_be_hidden()
    page.select_option("#collection", "crew")
    page.click("#verify")
    expect(console.message).to_have_text("Type the name of the person first.")
    page.fill("#person", "edn")
    expect(page.locator("#people-offered option")).to_have_count(1)
    page.fill("#person", "edna")
    page.press("#person", "Enter")
    expect(console.title).to_contain_text("Match, score")
    page.fill("#person", "gwen")
    expect(console.answer).to_be_empty()
    page.press("#person", "Enter")
    expect(console.title).to_contain_text("No match")
    page.fill("#person", "nobody")
    page.press("#person", "Enter")
    expect(console.message).to_contain_text("subject_not_found")


CHANGES: dict[str, Callable[[Page, dict[str, Path]], object]] = {
    "another photograph": lambda page, photos: page.set_input_files("#reference", photos["admiral.jpg"]),
    "a photograph removed": lambda page, _: page.click("[data-photo=probe] button:has-text('Remove')"),
    "another model": lambda page, _: page.select_option("#model", index=1),
    "another rate": lambda page, _: page.select_option("#rate", "0.01"),
    "a score": lambda page, _: page.select_option("#rate", "threshold"),
    "a person instead": lambda page, _: page.check("#against-person"),
}


@pytest.mark.parametrize("change", CHANGES)
def test_an_answer_goes_when_what_was_asked_changes(matched: Console, photos: dict[str, Path], change: str) -> None:
    CHANGES[change](matched.page, photos)
    expect(matched.answer).to_be_empty()
    assert matched.marked("probe") == 0
    assert matched.marked("reference") == 0


def test_an_answer_goes_when_the_next_question_fails(matched: Console, photos: dict[str, Path]) -> None:
    page = matched.page
    page.set_input_files("#reference", photos["damaged.jpg"])
    page.click("#verify")
    expect(matched.message).to_contain_text("image_corrupt")
    expect(matched.title).to_have_count(0)
    expect(matched.answer.locator(".trace").first).to_have_text("JSON", use_inner_text=True)
    page.set_input_files("#reference", photos["cat.png"])
    expect(matched.message).to_be_empty()
    page.click("#verify")
    expect(matched.message).to_contain_text("no_face")
    assert matched.marked("probe") == 0


def test_an_answer_that_comes_after_a_change_is_not_shown(matched: Console, photos: dict[str, Path]) -> None:
    page = matched.page
    held: list[Route] = []

    def hold(route: Route) -> None:
        held.append(route)

    page.route("**/v1/verify", hold)
    with page.expect_request("**/v1/verify"):
        page.click("#verify")
    page.set_input_files("#reference", photos["admiral.jpg"])
    held[0].continue_()
    page.unroute("**/v1/verify")
    page.click("#verify")
    expect(matched.title).to_contain_text("No match")
    expect(matched.message).to_be_empty()


def test_what_the_browser_cannot_draw_is_decided_all_the_same(console: Console, photos: dict[str, Path]) -> None:
    console.enter(view="verify")
    page = console.page
    page.set_input_files("#probe", photos["admiral.tiff"])
    page.set_input_files("#reference", photos["admiral.jpg"])
    expect(page.locator("[data-photo=probe] .note")).to_contain_text("this browser cannot show image/tiff")
    page.click("#verify")
    expect(console.title).to_contain_text("Match, score")
    expect(console.message).to_be_empty()
    assert console.marked("probe") == 0
    assert console.marked("reference") > 200


def test_what_is_missing_is_said_beside_the_button(console: Console, photos: dict[str, Path]) -> None:
    console.enter(view="verify")
    page = console.page
    page.click("#verify")
    expect(console.message).to_have_text("Choose the photograph first.")
    page.set_input_files("#probe", photos["astronaut.jpg"])
    page.click("#verify")
    expect(console.message).to_have_text("Choose the second photograph first.")


def test_every_answer_is_there_as_json_and_as_the_curl_line_that_asks_it(
    matched: Console, photos: dict[str, Path]
) -> None:
    page = matched.page
    shown, command = (text.removesuffix("Copy") for text in matched.answer.locator("pre").all_text_contents())
    assert (matched.server.key or "") not in command
    told = json.loads(shown)
    where = photos["astronaut.jpg"].parent
    environment = {**os.environ, "KEY": matched.server.key or ""}
    done = subprocess.run(["bash", "-c", command], cwd=where, env=environment, capture_output=True, check=True)
    again = json.loads(done.stdout)
    for answer in (told, again):
        del answer["request_id"], answer["timings"]
    assert again == told
    page.click("text=curl")
    expect(matched.answer.locator("pre").nth(1)).to_be_visible()
