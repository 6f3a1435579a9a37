"""What a person does at the console, in words of the tests."""

from __future__ import annotations

import base64
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from playwright.sync_api import Locator, Page

from service.database.sqlite.engine import open_engine
from service.keys import Keys, Scope
from tests.api.server import Server

WAIT = 60_000.0

MARKED = """(selector) => {
  const canvas = document.querySelector(selector);
  if (canvas.hidden) return 0;
  const data = canvas.getContext("2d").getImageData(0, 0, canvas.width, canvas.height).data;
  let count = 0;
  for (let i = 0; i < data.length; i += 4)
    if (data[i] === 0x2e && data[i + 1] === 0xa0 && data[i + 2] === 0x43) count++;
  return count;
}"""

TRANSFER = """(files) => {
  const transfer = new DataTransfer();
  for (const [name, type, text] of files) {
    const bytes = Uint8Array.from(atob(text), (letter) => letter.charCodeAt(0));
    transfer.items.add(new File([bytes], name, { type }));
  }
  return transfer;
}"""

HOLD = """() => {
  const fetched = window.fetch;
  const released = new Promise((resolve) => (window.release = resolve));
  window.fetch = async (place, options) => {
    if (options.method !== "GET") await released;
    return fetched(place, options);
  };
}"""


@dataclass(frozen=True)
class Console:
    """The console in one tab."""

    page: Page
    server: Server

    def enter(self, key: str | None = None, view: str = "") -> None:
        """Open the console at a view and use a key: the one given, or the admin's."""
        self.page.goto(f"{self.server.address}/#{view}")
        self.page.wait_for_selector("body[data-state=closed]")
        self.use_key(key or self.server.key or "")

    def use_key(self, key: str) -> None:
        """Enter a key, and wait until it is accepted."""
        self.page.fill("#key", key)
        self.page.click("#use-key")
        self.page.wait_for_selector("body[data-state=ready]")

    def go(self, view: str) -> None:
        """Choose a view from the navigation."""
        self.page.click(f"#views a[href='#{view}']")

    def views(self) -> list[str]:
        """The views that are offered."""
        return self.page.locator("#views a").all_inner_texts()

    def limited_key(self, *scopes: Scope, collections: Sequence[str] | None = None) -> str:
        """A new key of these rights, made beside the running server."""
        engine = open_engine(self.server.log.parent / "data")
        try:
            return Keys(engine).create("test", scopes, collections)[1]
        finally:
            engine.dispose()

    def collection(self, name: str, keep_crops: bool = False, **people: Path) -> str:
        """A collection with people enrolled, each from one photograph."""
        with self.server.client() as client:
            client.post("/v1/collections", json={"name": name, "keep_crops": keep_crops}).raise_for_status()
            for person, photo in people.items():
                fields = {"subject": person.replace("_", " "), "collection": name}
                client.post("/v1/enroll", data=fields, files={"images": photo.read_bytes()}).raise_for_status()
        return name

    @property
    def answer(self) -> Locator:
        """What was answered."""
        return self.page.locator(".answer")

    @property
    def title(self) -> Locator:
        """The first heading of the answer."""
        return self.page.locator(".answer h3").first

    @property
    def message(self) -> Locator:
        """What went wrong, beside the buttons."""
        return self.page.locator(".asking .message")

    def marked(self, photograph: str) -> int:
        """How many pixels of a photograph have the colour that fit faces and matches are marked with."""
        return int(self.page.evaluate(MARKED, f"[data-photo='{photograph}'] canvas"))

    def hold(self) -> None:
        """Hold back whatever is asked to be changed, until it is released."""
        self.page.evaluate(HOLD)

    def release(self) -> None:
        """Let go what is held back."""
        self.page.evaluate("window.release()")

    def drop(self, target: str, *photos: Path) -> None:
        """Drop files on what `target` selects."""
        transfer = self._transfer(photos)
        self.page.dispatch_event(target, "dragover", {"dataTransfer": transfer})
        self.page.dispatch_event(target, "drop", {"dataTransfer": transfer})

    def paste(self, *photos: Path) -> None:
        """Paste files."""
        self.page.evaluate(
            """(transfer) => document.activeElement.dispatchEvent(
                 new ClipboardEvent("paste", { clipboardData: transfer, bubbles: true, cancelable: true }))""",
            self._transfer(photos),
        )

    def _transfer(self, photos: Sequence[Path]) -> object:
        files = [[photo.name, "image/jpeg", base64.b64encode(photo.read_bytes()).decode()] for photo in photos]
        return self.page.evaluate_handle(TRANSFER, files)
