"""The console in a real Chromium, beside a real server with real models."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray
from playwright.sync_api import Browser, BrowserContext, expect, sync_playwright

from tests.api.conftest import calibrated
from tests.api.server import Server, serving
from tests.conftest import encode
from tests.web.console import WAIT, Console

CHROMIUM = shutil.which("chromium")
FRAMES = 30

expect.set_options(timeout=WAIT)  # a busy machine takes its time


@pytest.fixture(scope="session")
def calibrated_models(model_dirs: tuple[Path, ...], tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, ...]:
    return calibrated(model_dirs, tmp_path_factory.mktemp("calibrated") / "models")


@pytest.fixture(scope="session")
def server(calibrated_models: tuple[Path, ...], tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """One server for all tests; each test uses collections of its own."""
    with serving(tmp_path_factory.mktemp("console") / "data", calibrated_models) as server:
        yield server


@pytest.fixture(scope="session")
def chromium(astronaut: NDArray[np.uint8], tmp_path_factory: pytest.TempPathFactory) -> Iterator[Browser]:
    """A browser whose camera sees the astronaut."""
    camera = tmp_path_factory.mktemp("camera") / "astronaut.mjpeg"
    camera.write_bytes(encode(astronaut) * FRAMES)
    seen = ("--use-fake-device-for-media-stream", "--use-fake-ui-for-media-stream")
    seen = (*seen, f"--use-file-for-fake-video-capture={camera}")
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox", *seen])
        yield browser
        browser.close()


def open_console(context: BrowserContext, server: Server, faults: list[str]) -> Console:
    """A fresh tab. Errors, warnings of the content policy, and requests to elsewhere are noted in `faults`."""
    page = context.new_page()
    page.set_default_timeout(WAIT)
    page.on("pageerror", lambda error: faults.append(f"error: {error}"))
    page.on("console", lambda message: faults.append(message.text) if "Content Security" in message.text else None)
    page.on("request", lambda request: _only_here(request.url, faults))
    return Console(page, server)


@pytest.fixture
def console(chromium: Browser, server: Server, request: pytest.FixtureRequest) -> Iterator[Console]:
    """The console in a tab of 1280 by 900, or as `@pytest.mark.parametrize("console", [{...}], indirect=True)` says."""
    faults: list[str] = []
    options = {"viewport": {"width": 1280, "height": 900}, **getattr(request, "param", {})}
    with chromium.new_context(**options) as context:
        yield open_console(context, server, faults)
    assert faults == []


def _only_here(url: str, faults: list[str]) -> None:
    if not url.startswith(("http://127.0.0.1:", "data:", "blob:")):
        faults.append(f"a request went to {url}")


@pytest.fixture
def photos(
    tmp_path: Path, astronaut: NDArray[np.uint8], admiral: NDArray[np.uint8], cat: NDArray[np.uint8]
) -> dict[str, Path]:
    """Photographs by name: of one person, of two, of none; and one that is no photograph."""
    both = np.hstack([astronaut, admiral[: astronaut.shape[0]]])
    files = {
        "astronaut.jpg": encode(astronaut),
        "the astronaut's closer.jpg": encode(astronaut[:400, 90:400]),
        "admiral.jpg": encode(admiral),
        "admiral.tiff": encode(admiral, "TIFF"),
        "cat.png": encode(cat, "PNG"),
        "both.jpg": encode(both),
        "damaged.jpg": encode(astronaut)[:5000],
    }
    for name, data in files.items():
        (tmp_path / name).write_bytes(data)
    return {name: tmp_path / name for name in files}
