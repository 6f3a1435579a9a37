"""The key: taken visibly, kept in the tab, and what it may do is what is offered."""

from __future__ import annotations

from pathlib import Path

import pytest
from playwright.sync_api import Browser, expect

from service.keys import Scope
from tests.api.server import serving
from tests.web.conftest import open_console
from tests.web.console import Console

pytestmark = [pytest.mark.browser, pytest.mark.needs("chromium")]

ALL = ["Verify", "Identify", "Enrol", "People", "Collections", "Models", "Live", "Keys"]


def test_the_console_says_that_it_wants_a_key_and_that_it_has_taken_it(console: Console) -> None:
    page = console.page
    page.goto(console.server.address)
    expect(page.locator("#welcome")).to_contain_text("Paste a key to begin")
    expect(page.locator("#views")).to_be_hidden()
    expect(page.locator("#key")).to_be_focused()
    page.click("#use-key")
    expect(page.locator("#key-message")).to_have_text("Paste a key first.")
    page.fill("#key", console.server.key or "")
    page.press("#key", "Enter")
    expect(page.locator("#key-state")).to_contain_text(f"Key {(console.server.key or '')[6:16]} (first admin): admin")
    expect(page.locator("#key")).to_be_hidden()
    assert console.views() == ALL


def test_a_wrong_key_is_refused_beside_its_field(console: Console) -> None:
    page = console.page
    page.goto(console.server.address)
    page.fill("#key", "facet_wrong")
    page.press("#key", "Enter")
    expect(page.locator("#key-form .message")).to_contain_text("key_invalid")
    expect(page.locator("#views")).to_be_hidden()


def test_the_key_stays_in_the_tab(console: Console) -> None:
    console.enter()
    page = console.page
    kept = page.evaluate("() => [sessionStorage.getItem('facet-key'), localStorage.length, document.cookie]")
    assert kept == [console.server.key, 0, ""]
    page.reload()
    page.wait_for_selector("body[data-state=ready]")
    assert (console.server.key or "") not in page.url
    assert (console.server.key or "") not in page.content()
    page.click("#change-key")
    expect(page.locator("#key")).to_be_focused()
    assert page.evaluate("() => sessionStorage.getItem('facet-key')") is None


def test_a_limited_key_is_offered_what_it_may_do_where_it_may_do_it(console: Console, photos: dict[str, Path]) -> None:
    console.collection("visitors", ann=photos["astronaut.jpg"])
    console.enter(console.limited_key(Scope.VERIFY, Scope.IDENTIFY, Scope.ENROL, collections=["visitors"]), "identify")
    page = console.page
    assert console.views() == ["Verify", "Identify", "Enrol", "Models", "Keys"]
    assert page.locator("#collection option").all_inner_texts() == ["visitors"]
    page.set_input_files("#image", photos["astronaut.jpg"])
    page.click("#identify")
    expect(console.title).to_have_text("Face 1: Match, ann")
    console.go("keys")
    expect(page.locator("#view")).to_contain_text("Collectionsvisitors")
    expect(page.locator("#view")).not_to_contain_text("Make a key")
    console.go("models")
    expect(page.locator("#view table")).to_contain_text("embedder")
    expect(page.locator("#set-roles")).to_have_count(0)


def test_a_key_that_may_list_nothing_types_its_collection(console: Console, photos: dict[str, Path]) -> None:
    console.collection("typed", ann=photos["astronaut.jpg"])
    console.enter(console.limited_key(Scope.IDENTIFY), "identify")
    assert console.views() == ["Identify", "Models", "Keys"]
    expect(console.page.locator("#collection")).to_have_value("default")
    console.page.fill("#collection", "typed")
    console.page.set_input_files("#image", photos["astronaut.jpg"])
    console.page.click("#identify")
    expect(console.title).to_have_text("Face 1: Match, ann")


def test_with_several_collections_none_is_chosen_for_anybody(console: Console, photos: dict[str, Path]) -> None:
    names = [console.collection("north"), console.collection("south")]
    console.enter(console.limited_key(Scope.IDENTIFY, Scope.READ, collections=names), "identify")
    page = console.page
    assert page.locator("#collection option").all_inner_texts() == ["choose one", *names]
    page.set_input_files("#image", photos["astronaut.jpg"])
    page.click("#identify")
    expect(console.message).to_have_text("Choose a collection first.")
    page.select_option("#collection", "south")
    page.reload()
    page.wait_for_selector("body[data-state=ready]")
    expect(page.locator("#collection")).to_have_value("south")


def test_what_another_key_was_shown_is_gone_with_it(console: Console, photos: dict[str, Path]) -> None:
    deciding, reading = (console.limited_key(scope, collections=["default"]) for scope in (Scope.VERIFY, Scope.READ))
    console.enter(deciding)
    page = console.page
    assert console.views() == ["Verify", "Models", "Keys"]
    page.set_input_files("#probe", photos["astronaut.jpg"])
    page.set_input_files("#reference", photos["admiral.jpg"])
    page.click("#verify")
    expect(console.title).to_contain_text("No match")
    page.click("#change-key")
    expect(page.locator("#view")).to_be_empty()
    console.use_key(reading)
    assert console.views() == ["People", "Collections", "Models", "Live", "Keys"]
    console.go("live")
    expect(console.title).to_contain_text("decides")
    page.click("#change-key")
    page.fill("#key", "facet_wrong")
    page.press("#key", "Enter")
    expect(page.locator("#key-message")).to_contain_text("key_invalid")
    expect(page.locator("#views")).to_be_hidden()
    expect(page.locator("#view")).to_be_empty()
    console.use_key(deciding)
    expect(page.locator("[data-photo=probe] .note")).to_be_empty()


def test_how_keys_are_made_is_shown_as_the_command(console: Console) -> None:
    console.collection("it's here")
    console.enter(view="keys")
    page = console.page
    page.fill("#key-name", "gate 3")
    page.check("[name=scope][value=identify]")
    page.check('[name=collection][value="it\'s here"]')
    page.fill("#key-days", "30")
    command = page.locator("#view pre").first
    expect(command).to_have_text(
        r"facet keys create 'gate 3' --scope verify --scope identify --collection 'it'\''s here' --days 30"
    )


def test_where_no_key_is_needed_none_is_asked_for(
    chromium: Browser, calibrated_models: tuple[Path, ...], tmp_path: Path
) -> None:
    faults: list[str] = []
    with (
        serving(tmp_path / "data", calibrated_models, anonymous="true") as server,
        chromium.new_context() as context,
    ):
        console = open_console(context, server, faults)
        console.page.goto(server.address)
        expect(console.page.locator("#key-state")).to_contain_text("No key is needed here")
        assert console.views() == ALL
        console.go("people")
        expect(console.title).to_have_text("Nobody is enrolled in default yet.")
    assert faults == []
