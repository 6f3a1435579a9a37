"""People and collections: enrolled, found, renamed, erased."""

from __future__ import annotations

from pathlib import Path

import pytest
from playwright.sync_api import Page, expect

from service.keys import Scope
from tests.web.console import Console

pytestmark = [pytest.mark.browser, pytest.mark.needs("chromium")]


def test_a_person_is_enrolled_by_enter_in_the_name_and_then_identified(
    console: Console, photos: dict[str, Path]
) -> None:
    console.collection("enrolling")
    console.enter(view="enrol")
    page = console.page
    page.select_option("#collection", "enrolling")
    page.set_input_files("#photograph-1", photos["astronaut.jpg"])
    page.click("#enroll")
    expect(console.message).to_have_text("Type the name of the person first.")
    page.fill("#subject", "the astronaut")
    page.press("#subject", "Enter")
    expect(console.title).to_have_text("the astronaut has 1 face enrolled")
    expect(page.locator("#subject")).to_be_focused()
    page.set_input_files("#photograph-2", photos["both.jpg"])
    expect(console.answer).to_be_empty()
    page.fill("#subject", "her twin")
    page.click("#enroll")
    expect(console.title).to_have_text("her twin has 1 face enrolled")
    expect(console.answer).to_contain_text("both.jpg")
    expect(console.answer).to_contain_text("several_faces")
    expect(console.answer).to_contain_text("This face is also enrolled as the astronaut")
    console.go("identify")
    page.set_input_files("#image", photos["astronaut.jpg"])
    page.click("#identify")
    expect(console.title).to_contain_text("Face 1: Ambiguous")


def test_people_are_shown_with_pictures_where_crops_are_kept(console: Console, photos: dict[str, Path]) -> None:
    console.collection("pictured", keep_crops=True, ann=photos["astronaut.jpg"], bea=photos["admiral.jpg"])
    console.collection("plain", ann=photos["astronaut.jpg"])
    console.enter(view="people")
    page = console.page
    page.select_option("#collection", "pictured")
    expect(console.title).to_have_text("2 people in pictured")
    pictures = page.locator(".card img")
    expect(pictures.nth(0)).to_be_visible()
    expect(pictures.nth(1)).to_be_visible()
    assert pictures.nth(0).evaluate("image => image.naturalWidth") == 128
    page.select_option("#collection", "plain")
    expect(console.title).to_have_text("1 person in plain")
    expect(console.answer).to_contain_text("keeps no crops")
    expect(page.locator(".card img")).to_be_hidden()


def test_people_are_found_renamed_and_erased_with_a_receipt(console: Console, photos: dict[str, Path]) -> None:
    console.collection("house", ann=photos["astronaut.jpg"], bea=photos["admiral.jpg"])
    console.enter(view="people")
    page = console.page
    page.select_option("#collection", "house")
    expect(page.locator(".card")).to_have_count(2)
    page.fill("#prefix", "b")
    expect(page.locator(".card")).to_have_count(1)
    expect(page.locator(".card strong")).to_have_text("bea")
    page.click("[aria-label='Rename: bea']")
    page.fill("#new-name", "")
    page.press("#new-name", "Enter")
    expect(page.locator("dialog .message")).to_have_text("Type the new name first.")
    page.fill("#new-name", "ann")
    page.press("#new-name", "Enter")
    expect(page.locator("dialog .message")).to_contain_text("subject_exists")
    page.fill("#new-name", "beatrice")
    page.press("#new-name", "Enter")
    expect(page.locator("#view .outcome p")).to_have_text("bea is now beatrice.")
    expect(page.locator("#view .outcome pre").nth(1)).to_contain_text("-X PATCH")
    expect(page.locator(".card strong")).to_have_text("beatrice")
    page.click("[aria-label='Erase: beatrice']")
    page.keyboard.press("Escape")
    expect(page.locator(".card")).to_have_count(1)
    page.click("[aria-label='Erase: beatrice']")
    page.click("dialog button.danger")
    expect(page.locator(".receipt")).to_contain_text("beatrice is erased")
    receipt = page.locator(".receipt p code").inner_text()
    expect(page.locator(".receipt pre").first).to_contain_text(receipt)
    with console.server.client() as client:
        receipts = client.get("/v1/receipts?limit=1000").json()["items"]
    assert receipt in [each["id"] for each in receipts]
    expect(console.title).to_have_text("Nobody in house has a name that begins with “b”.")
    page.fill("#prefix", "")
    expect(page.locator(".card strong")).to_have_text("ann")
    expect(page.locator(".receipt")).to_have_count(0)


def test_somebody_enrolled_twice_is_made_one_person(console: Console, photos: dict[str, Path]) -> None:
    console.collection("twice", ann=photos["astronaut.jpg"], anne=photos["the astronaut's closer.jpg"])
    console.enter(view="people")
    page = console.page
    page.select_option("#collection", "twice")
    expect(page.locator(".card")).to_have_count(2)
    page.click("[aria-label='Merge: ann']")
    page.fill("#other-name", "nobody")
    page.press("#other-name", "Enter")
    expect(page.locator("dialog .message")).to_contain_text("subject_not_found")
    page.fill("#other-name", "anne")
    page.press("#other-name", "Enter")
    expect(page.locator("#view .outcome p")).to_have_text("ann has 2 faces now, 1 of them from anne.")
    expect(page.locator(".card strong")).to_have_text("ann")


def test_one_face_of_a_person_is_erased(console: Console, photos: dict[str, Path]) -> None:
    console.collection("faces", keep_crops=True, ann=photos["astronaut.jpg"])
    with console.server.client() as client:
        files = {"images": photos["astronaut.jpg"].read_bytes()}
        client.post("/v1/enroll", data={"subject": "ann", "collection": "faces"}, files=files).raise_for_status()
    console.enter(view="people")
    page = console.page
    page.select_option("#collection", "faces")
    page.click("[aria-label='Faces: ann']")
    rows = page.locator("dialog tbody tr")
    expect(rows).to_have_count(2)
    expect(rows.first.locator("img")).to_be_visible()
    rows.first.locator("button").click()
    page.click("dialog button.danger")
    expect(rows).to_have_count(1)
    page.click("dialog button.primary")
    expect(page.locator(".receipt")).to_contain_text("A face of ann is erased")
    expect(page.locator(".card small")).to_have_text("1 face")


def test_who_may_only_read_is_offered_no_change(console: Console, photos: dict[str, Path]) -> None:
    console.collection("reading", ann=photos["astronaut.jpg"])
    console.enter(console.limited_key(Scope.READ, collections=["reading"]), "people")
    page = console.page
    expect(page.locator(".card button")).to_have_text(["Faces"])
    console.go("collections")
    expect(page.locator("#view tbody button")).to_have_text(["Use"])
    expect(page.locator("#create")).to_have_count(0)


def test_collections_are_made_chosen_and_erased_by_typing_their_name(console: Console, photos: dict[str, Path]) -> None:
    console.enter(view="collections")
    page = console.page
    page.click("#create")
    expect(console.message).to_have_text("Type the name of the collection first.")
    page.fill("#collection-name", "guests & others")
    page.check("#keep-crops")
    page.press("#collection-name", "Enter")
    expect(console.title).to_have_text("guests & others is made, and chosen")
    row = page.locator("tr", has_text="guests & others")
    expect(row).to_contain_text("kept")
    page.fill("#collection-name", "guests & others")
    page.press("#collection-name", "Enter")
    expect(console.message).to_contain_text("collection_exists")
    page.click("[aria-label='Use guests & others']")
    expect(console.title).to_have_text("Nobody is enrolled in guests & others yet.")
    expect(page.locator("#collection")).to_have_value("guests & others")
    console.go("collections")
    page.click("[aria-label='Erase guests & others']")
    page.fill("#typed-name", "guests")
    page.press("#typed-name", "Enter")
    expect(page.locator("dialog .message")).to_have_text("Type guests & others to erase it.")
    page.fill("#typed-name", "guests & others")
    page.press("#typed-name", "Enter")
    expect(page.locator(".receipt")).to_contain_text("guests & others is erased")
    expect(row).to_have_count(0)
    assert "guests & others" not in page.locator("#collection option").all_inner_texts()


def test_a_view_that_is_left_while_it_writes_leaves_no_locked_page(console: Console) -> None:
    console.enter(view="collections")
    page = console.page
    console.hold()
    page.fill("#collection-name", "slow")
    page.click("#create")
    expect(page.locator("main")).to_have_attribute("inert", "")
    console.go("keys")
    console.release()
    expect(page.locator("main")).not_to_have_attribute("inert", "")
    console.go("collections")
    expect(console.title).to_have_text("slow is made, and chosen")
    expect(console.message).to_be_empty()


def begin_erasure(console: Console, name: str) -> Page:
    """Make a collection, ask to erase it and type its name; Enter erases it."""
    console.collection(name)
    console.enter(view="collections")
    page = console.page
    page.click(f"[aria-label='Erase {name}']")
    page.fill("#typed-name", name)
    return page


def test_an_erasure_under_way_is_seen_to_its_end(console: Console) -> None:
    page = begin_erasure(console, "going")
    console.hold()
    page.press("#typed-name", "Enter")
    page.keyboard.press("Escape")
    expect(page.locator("dialog button:has-text('Cancel')")).to_be_disabled()
    console.release()
    expect(page.locator(".receipt")).to_contain_text("going is erased")


def test_a_receipt_is_shown_though_the_list_cannot_be_read_again(console: Console) -> None:
    page = begin_erasure(console, "gone")
    page.route("**/v1/models", lambda route: route.fulfill(status=502, json={"message": "bad gateway"}))
    page.press("#typed-name", "Enter")
    expect(page.locator(".receipt")).to_contain_text("gone is erased")
    expect(console.message).to_have_text("HTTP 502: the answer is not one of this service (unknown)")
    page.unroute("**/v1/models")
    console.go("keys")
    console.go("collections")
    expect(page.locator("[aria-label='Use gone']")).to_have_count(0)
    expect(console.message).to_be_empty()
