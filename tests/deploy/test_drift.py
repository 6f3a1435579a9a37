"""The drift alert on a real Prometheus that watches a real service: blurred and dark photographs raise it, ordinary
ones do not. The rules are the repository's, with an hour shortened to 20 seconds and a day to 100.
"""

from __future__ import annotations

import itertools
import os
import re
import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import cv2
import httpx
import numpy as np
import pytest
import yaml
from numpy.typing import NDArray

from service.bench.server import Server, make_key
from tests.conftest import encode
from tests.deploy.prometheus import Prometheus, copy_configuration, watching

pytestmark = [pytest.mark.engines, pytest.mark.needs("prometheus"), pytest.mark.timeout(1800)]

PHOTOS = 60
PAUSE = 0.02
LEARNING_SECONDS = 40.0
PATIENCE = 300.0
SHORTENED = {"1d": "100s", "1h": "20s", "15m": "3s", "1m": "1s"}
FIRING = 'ALERTS{alertname="FacetDrift", alertstate="firing"}'
Pixels = NDArray[np.uint8]


def ordinary(portrait: Pixels, chance: np.random.Generator) -> Pixels:
    """A portrait as another camera might take it: turned a little, nearer or farther, lighter or darker."""
    height, width = portrait.shape[:2]
    turn = cv2.getRotationMatrix2D((width / 2, height / 2), chance.uniform(-8, 8), chance.uniform(0.9, 1.1))
    turned = cv2.warpAffine(portrait, turn, (width, height), borderMode=cv2.BORDER_REFLECT)
    small = cv2.resize(turned, None, fx=0.5, fy=0.5, interpolation=cv2.INTER_AREA)
    return np.clip(small * chance.uniform(0.85, 1.15), 0, 255).astype(np.uint8)


def blurred(photo: Pixels) -> Pixels:
    return np.asarray(cv2.GaussianBlur(photo, (0, 0), 1.5), dtype=np.uint8)


def dark(photo: Pixels) -> Pixels:
    return (photo * 0.5).astype(np.uint8)


class Clients:
    """Clients that ask who is on photographs, all the time, whatever they are given."""

    def __init__(self, client: httpx.Client, photos: Sequence[bytes]) -> None:
        self.photos = photos
        self.failures = 0
        self._client = client
        self._stop = threading.Event()

    @contextmanager
    def asking(self) -> Iterator[None]:
        thread = threading.Thread(target=self._ask)
        thread.start()
        try:
            yield
        finally:
            self._stop.set()
            thread.join()

    def _ask(self) -> None:
        for number in itertools.count():
            if self._stop.wait(PAUSE):
                return
            photos = self.photos
            files = {"image": photos[number % len(photos)]}
            self.failures += self._client.post("/v1/identify", data={"threshold": "0.4"}, files=files).is_error


def shorten(etc: Path) -> None:
    """Keep the rules of drift alone, and let time pass faster in them."""
    kept: list[dict[str, Any]] = []
    for path in (etc / "rules").glob("*.yml"):
        for group in yaml.safe_load(path.read_text())["groups"]:
            rules = [
                rule for rule in group["rules"] if group["name"] == "facet-drift" or rule.get("alert") == "FacetDrift"
            ]
            if rules:
                kept.append({**group, "rules": rules, "interval": "1s"})
        path.unlink()
    text = yaml.safe_dump({"groups": kept})
    swift = re.sub(
        r"\b(1d|1h|15m|1m)\b(?=[\]\s,)]|$)", lambda found: SHORTENED[found.group()], text, flags=re.MULTILINE
    )
    (etc / "rules" / "drift.yml").write_text(swift.replace("increase20s", "increase1h"))


@pytest.fixture
def photos(astronaut: Pixels, admiral: Pixels) -> list[Pixels]:
    chance = np.random.default_rng(5)
    return [ordinary(portrait, chance) for portrait in (astronaut, admiral) for _ in range(PHOTOS // 2)]


@pytest.fixture
def watched(
    model_dirs: tuple[Path, ...], tmp_path: Path, photos: list[Pixels], monkeypatch: pytest.MonkeyPatch
) -> Iterator[tuple[Clients, Prometheus]]:
    key = make_key(tmp_path / "data")
    monkeypatch.setenv("FACET_MODEL_DIRS", os.pathsep.join(map(str, model_dirs)))
    headers = {"Authorization": f"Bearer {key}"}
    with (
        Server(tmp_path / "data") as server,
        httpx.Client(base_url=server.address, headers=headers, timeout=PATIENCE) as client,
    ):
        for name, photo in (("astronaut", photos[0]), ("admiral", photos[-1])):
            client.post("/v1/enroll", data={"subject": name}, files={"images": encode(photo)}).raise_for_status()
        etc = copy_configuration(tmp_path, server.address)
        shorten(etc)
        with watching(etc) as prometheus:
            clients = Clients(client, [encode(photo) for photo in photos])
            with clients.asking():
                yield clients, prometheus


def measures(found: list[dict[str, Any]]) -> set[str]:
    return {sample["metric"]["measure"] for sample in found}


def test_blurred_and_dark_photographs_raise_the_alert_and_ordinary_ones_do_not(
    watched: tuple[Clients, Prometheus], photos: list[Pixels]
) -> None:
    clients, prometheus = watched
    everyday = clients.photos
    prometheus.wait_for('facet:drift:distance{measure="sharpness"}', PATIENCE)
    quiet_until = time.monotonic() + LEARNING_SECONDS
    while time.monotonic() < quiet_until:
        assert prometheus.ask(FIRING) == []
        time.sleep(1)
    known = prometheus.ask("facet:drift:distance")
    assert {"sharpness", "brightness", "contrast", "identify_score", "failure_to_acquire", "no_match"} <= measures(
        known
    )
    assert max(float(sample["value"][1]) for sample in known) < 0.35

    clients.photos = [encode(blurred(photo)) for photo in photos]
    assert "sharpness" in measures(prometheus.wait_for(f'{FIRING[:-1]}, measure="sharpness"}}', PATIENCE))
    assert not measures(prometheus.ask(FIRING)) & {"brightness", "eye_pixels"}

    clients.photos = everyday
    prometheus.wait_for(f"absent({FIRING})", PATIENCE)

    clients.photos = [encode(dark(photo)) for photo in photos]
    assert "brightness" in measures(prometheus.wait_for(f'{FIRING[:-1]}, measure="brightness"}}', PATIENCE))
    assert "sharpness" not in measures(prometheus.ask(FIRING))
    assert clients.failures == 0
