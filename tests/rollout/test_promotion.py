"""A model is compared and promoted on a real server, under load by real faces, and nobody is enrolled again.

Prometheus looks on, and at every step the dashboards' queries are answered with data.
"""

from __future__ import annotations

import threading
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import httpx2 as httpx
import numpy as np
import pytest

from service.face.decoding.image import ImageLimits, decode
from service.face.errors import NoFace
from tests.accuracy.lfw import unpack
from tests.api.server import Server, serving
from tests.conftest import encode
from tests.deploy.prometheus import Prometheus, copy_configuration, watching
from tests.deploy.queries import dashboard_queries, is_silent
from tests.waiting import await_that

pytestmark = [
    pytest.mark.data,
    pytest.mark.engines,
    pytest.mark.needs("prometheus"),
    pytest.mark.timeout(1800),
]

PEOPLE = 20
CASES = 30
ALWAYS = ("Roles", "Sampled", "Waiting", "$instance")
"""What the comparison's dashboard shows before anything was compared."""
REMADE = ("Faces left and made", "Templates made")
"""What it shows once templates were made again."""

People = dict[str, tuple[bytes, bytes]]


@pytest.fixture(scope="module")
def people(tmp_path_factory: pytest.TempPathFactory) -> People:
    """Two photographs of each of some people: one to enrol, one to find them by."""
    root = unpack(tmp_path_factory.mktemp("lfw"))
    albums = [sorted(folder.glob("*.jpg")) for folder in sorted(root.iterdir()) if folder.is_dir()]
    pictures = [[file.read_bytes() for file in album[:2]] for album in albums if len(album) > 1][:PEOPLE]
    return {f"person-{number}": (first, second) for number, (first, second) in enumerate(pictures)}


@pytest.fixture
def server(zoo: Path, model_dirs: tuple[Path, ...], tmp_path: Path, people: People) -> Iterator[Server]:
    """A server of teacher, student and stranger, where everybody was enrolled while there was the teacher alone."""
    data = tmp_path / "data"
    with serving(data, (zoo, *model_dirs), models="teacher") as running, running.client() as client:
        key = running.key
        client.post("/v1/collections", json={"name": "crew", "keep_crops": True}).raise_for_status()
        for name, (photograph, _) in people.items():
            given = {"subject": name, "collection": "crew", "quality": "report", "faces": "prominent"}
            answer = client.post("/v1/enroll", data=given, files={"images": ("face.jpg", photograph, "image/jpeg")})
            assert answer.status_code == 201, answer.text
    # More workers than the load has callers: the challenger's turn comes while one of them is free.
    given = {"models": "teacher,student,stranger", "default_model": "teacher", "shadow_cpu": "1.0", "workers": "4"}
    with serving(data, (zoo, *model_dirs), **given) as running:
        running.earlier_key = key
        yield running


@pytest.fixture
def prometheus(server: Server, tmp_path: Path) -> Iterator[Prometheus]:
    with watching(copy_configuration(tmp_path / "prometheus", server.address)) as running:
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
    given = {"fmr": "0.01", "collection": "crew"}
    return client.post("/v1/identify", data=given, files={"image": ("probe.jpg", probe, "image/jpeg")})


def verify(client: httpx.Client, photographs: tuple[bytes, bytes], threshold: float = 0.4) -> dict[str, Any]:
    answer = client.post(
        "/v1/verify",
        data={"threshold": str(threshold)},
        files={"probe": photographs[1], "reference": photographs[0]},
    )
    assert answer.status_code == 200, answer.text
    return dict(answer.json())


def found(client: httpx.Client, people: People) -> dict[str, str]:
    """Rank 1 of everybody's second photograph."""
    answers = {name: search(client, probe) for name, (_, probe) in people.items()}
    assert [answer.text for answer in answers.values() if answer.status_code != 200] == []
    return {name: answer.json()["faces"][0]["candidates"][0]["subject"] for name, answer in answers.items()}


def comparison(client: httpx.Client, cases: int, **query: str) -> dict[str, Any]:
    def enough() -> dict[str, Any]:
        made = client.get("/v1/comparisons", params=query).json()
        return dict(made) if made["cases"] >= cases else {}

    return await_that(enough)


def use_a_little(client: httpx.Client, people: People) -> None:
    """One of everything else that the dashboards show: an enrolment, a verification, an unfit face, a refusal."""
    photographs = next(iter(people.values()))
    enrolled = client.post("/v1/enroll", data={"subject": "visitor"}, files={"images": photographs[0]})
    assert enrolled.status_code == 201, enrolled.text
    verify(client, (photographs[0], encode(decode(photographs[1], ImageLimits()).pixels // 6)))
    grey = encode(np.full((64, 64, 3), 90, dtype=np.uint8))
    refused = client.post("/v1/verify", data={"threshold": "0.4"}, files={"probe": grey, "reference": photographs[0]})
    assert refused.json()["code"] == NoFace.code


def disagree(client: httpx.Client, people: People) -> None:
    """Ask at thresholds that the champion's scores just reach: some of the challenger's do not."""
    for photographs in people.values():
        verify(client, photographs, verify(client, photographs)["score"])
    disagreeing = {"route": "verify", "limit": 1}
    await_that(lambda: client.get("/v1/comparisons/cases", params=disagreeing).json()["items"])


def tell_the_truth(client: httpx.Client) -> None:
    """Of the cases there are, by the names: every search was by somebody enrolled; one is called an impostor."""
    cases = client.get("/v1/comparisons/cases", params={"disagreeing": False, "limit": 8, "route": "identify"}).json()
    for number, case in enumerate(cases["items"]):
        outcome = {"outcome": "genuine" if number else "impostor"}
        client.post(f"/v1/decisions/{case['request_id']}/outcome", json=outcome).raise_for_status()


def assert_answered(prometheus: Prometheus, *, compared: bool, remade: bool = False) -> None:
    """Every query finds something within a minute, of the comparison's dashboard those that can by now."""
    possible = {*ALWAYS, *(REMADE if remade else ())}
    for query in dashboard_queries():
        board, _, title = query.source.partition(": ")
        later = title not in possible if title in REMADE or not compared else False
        if not is_silent(query) and not (board == "comparison.json" and later):
            prometheus.wait_for(query.expression)


def assert_roles(prometheus: Prometheus, champion: str, challenger: str | None) -> None:
    prometheus.wait_for(f'facet_role_info{{role="champion", model="{champion}@1.0.0"}}')
    if challenger is not None:
        prometheus.wait_for(f'facet_role_info{{role="challenger", model="{challenger}@1.0.0"}}')


def test_compared_promoted_and_rolled_back_under_load(server: Server, people: People, prometheus: Prometheus) -> None:
    load = Load(server, [probe for _, probe in people.values()])
    with server.client() as client, load.running():
        before = found(client, people)
        assert sum(name == subject for name, subject in before.items()) >= 0.95 * PEOPLE
        use_a_little(client, people)
        assert_roles(prometheus, "teacher", None)
        assert_answered(prometheus, compared=False)

        # A challenger that cannot decide, then one that can.
        for challenger in ("stranger", "student"):
            roles = {"champion": "teacher", "challenger": challenger, "sample": 1.0}
            assert client.put("/v1/roles", json=roles).status_code == 200
            prometheus.wait_for(
                f"sum(facet_{'shadow_dropped' if challenger == 'stranger' else 'comparisons'}_total) > 0"
            )
        made = comparison(client, CASES)
        assert made["agreement"]["share"] >= 0.9
        assert made["correlation"] > 0.9
        disagree(client, people)
        for told in (1, 2, 3):  # an increase is told of a series that was seen lower
            tell_the_truth(client)
            prometheus.wait_for(f'min(sum by (role) (facet_comparison_outcomes_total{{outcome="impostor"}})) >= {told}')
        assert_roles(prometheus, "teacher", "student")
        assert_answered(prometheus, compared=True)

        promoted = client.post("/v1/roles/promote").json()
        assert promoted["champion"]["name"] == "student"
        after = found(client, people)
        assert sum(before[name] == after[name] for name in people) >= 0.95 * PEOPLE
        assert comparison(client, 5, champion="student", challenger="teacher")["cases"] >= 5
        assert_roles(prometheus, "student", "teacher")
        assert_answered(prometheus, compared=True)

        assert client.post("/v1/roles/rollback").json()["champion"]["name"] == "teacher"
        assert found(client, people) == before
        assert_roles(prometheus, "teacher", "student")
        assert_answered(prometheus, compared=True)

        assert client.post("/v1/reembeddings", json={"model": "stranger"}).status_code == 202
        prometheus.wait_for(f'facet_reembedding_faces{{model="stranger@1.0.0", state="made"}} == {PEOPLE}')
        assert_answered(prometheus, compared=True, remade=True)
    assert set(load.answers) == {200}, "no search failed at any step"
    assert set(load.models) == {"teacher", "student"}
