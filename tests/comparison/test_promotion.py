"""A model is compared and promoted on a real server, under load by real faces, and nobody is enrolled again."""

from __future__ import annotations

import threading
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import httpx2 as httpx
import pytest

from tests.accuracy.lfw import unpack
from tests.api.server import Server, serving

pytestmark = [pytest.mark.data, pytest.mark.timeout(1800)]

PEOPLE = 20
CASES = 30
PATIENCE = 300.0


@pytest.fixture(scope="module")
def people(tmp_path_factory: pytest.TempPathFactory) -> dict[str, tuple[bytes, bytes]]:
    """Two photographs of each of some people: one to enrol, one to find them by."""
    root = unpack(tmp_path_factory.mktemp("lfw"))
    albums = [sorted(folder.glob("*.jpg")) for folder in sorted(root.iterdir()) if folder.is_dir()]
    pictures = [[file.read_bytes() for file in album[:2]] for album in albums if len(album) > 1][:PEOPLE]
    return {f"person-{number}": (first, second) for number, (first, second) in enumerate(pictures)}


@pytest.fixture
def server(zoo: Path, model_dirs: tuple[Path, ...], tmp_path: Path) -> Iterator[Server]:
    given = {"models": "teacher,student", "default_model": "teacher", "shadow_cpu": "1.0"}
    with serving(tmp_path / "data", (zoo, *model_dirs), **given) as running:
        yield running


class Load:
    """Clients that search all the time; `answers` counts statuses, `models` those who answered."""

    def __init__(self, server: Server, probes: list[bytes]) -> None:
        self.answers: Counter[int] = Counter()
        self.models: Counter[str] = Counter()
        self._server, self._probes = server, probes
        self._stop = threading.Event()

    @contextmanager
    def running(self) -> Iterator[Load]:
        threads = [threading.Thread(target=self._search) for _ in range(2)]
        for thread in threads:
            thread.start()
        try:
            yield self
        finally:
            self._stop.set()
            for thread in threads:
                thread.join()

    def _search(self) -> None:
        with self._server.client() as client:
            while not self._stop.is_set():
                for probe in self._probes:
                    answer = search(client, probe)
                    self.answers[answer.status_code] += 1
                    if answer.is_success:
                        self.models[answer.json()["model"]["name"]] += 1
                    if self._stop.is_set():
                        return


def search(client: httpx.Client, probe: bytes) -> httpx.Response:
    return client.post("/v1/identify", data={"fmr": "0.01"}, files={"image": ("probe.jpg", probe, "image/jpeg")})


def found(client: httpx.Client, people: dict[str, tuple[bytes, bytes]]) -> dict[str, str]:
    """Rank 1 of everybody's second photograph."""
    ranked = {name: search(client, probe).json()["faces"][0]["candidates"] for name, (_, probe) in people.items()}
    return {name: candidates[0]["subject"] for name, candidates in ranked.items()}


def comparison(client: httpx.Client, cases: int, **query: str) -> dict[str, Any]:
    until = time.monotonic() + PATIENCE
    while (made := client.get("/v1/comparisons", params=query).json())["cases"] < cases:
        assert time.monotonic() < until, made
        time.sleep(0.2)
    return dict(made)


def test_compared_promoted_and_rolled_back_under_load(server: Server, people: dict[str, tuple[bytes, bytes]]) -> None:
    load = Load(server, [probe for _, probe in people.values()])
    with server.client() as client:
        for name, (photograph, _) in people.items():
            data = {"subject": name, "quality": "report", "faces": "prominent"}
            answer = client.post("/v1/enroll", data=data, files={"images": ("face.jpg", photograph, "image/jpeg")})
            assert answer.status_code == 201, answer.text
        before = found(client, people)
        assert sum(name == subject for name, subject in before.items()) >= 0.95 * PEOPLE
        roles = {"champion": "teacher", "challenger": "student", "sample": 1.0}
        assert client.put("/v1/roles", json=roles).status_code == 200
        with load.running():
            made = comparison(client, CASES)
            assert made["agreement"]["share"] >= 0.9
            assert made["correlation"] > 0.9
            promoted = client.post("/v1/roles/promote").json()
            assert promoted["champion"]["name"] == "student"
            after = found(client, people)
            assert sum(before[name] == after[name] for name in people) >= 0.95 * PEOPLE
            assert comparison(client, 5, champion="student", challenger="teacher")["cases"] >= 5
            assert client.post("/v1/roles/rollback").json()["champion"]["name"] == "teacher"
            assert found(client, people) == before
        assert set(load.answers) == {200}, "no search failed at any step"
        assert set(load.models) == {"teacher", "student"}
        text = client.get("/metrics").text
        assert 'facet_role_info{digest="' in text
        assert 'facet_comparisons_total{agree="yes",challenger="student@1.0.0"' in text
