"""A real Prometheus scrapes a real service, and answers every query of the dashboards and the rules."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path

import httpx
import numpy as np
import pytest
from numpy.typing import NDArray

from service.bench.server import Server, make_key
from tests.conftest import ROOT, encode
from tests.deploy.prometheus import Prometheus, copy_configuration, watching
from tests.deploy.queries import DEPLOY, Query, dashboard_queries, is_silent, rule_expressions, rule_queries

pytestmark = [pytest.mark.engines, pytest.mark.needs("prometheus", "promtool")]


def run(*command: object) -> str:
    """Run a program that must succeed; returns what it printed."""
    done = subprocess.run([str(word) for word in command], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


Use = Callable[[], None]


@pytest.fixture(scope="module")
def service(
    model_dirs: tuple[Path, ...],
    tmp_path_factory: pytest.TempPathFactory,
    astronaut: NDArray[np.uint8],
    admiral: NDArray[np.uint8],
    cat: NDArray[np.uint8],
) -> Iterator[tuple[str, Use]]:
    """The address of a service, and what makes it do a little of everything."""
    data = tmp_path_factory.mktemp("service") / "data"
    photos = encode(astronaut), encode(admiral), encode(astronaut[::4, ::4]), encode(cat)
    key = make_key(data)
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("FACET_MODEL_DIRS", os.pathsep.join(map(str, model_dirs)))
        with Server(data) as server:
            client = httpx.Client(base_url=server.address, headers={"Authorization": f"Bearer {key}"}, timeout=60)
            with client:
                yield server.address, lambda: _use(client, *photos)


def _use(client: httpx.Client, one: bytes, other: bytes, small: bytes, nobody: bytes) -> None:
    at = {"threshold": "0.4"}
    grey = encode(np.full((64, 64, 3), 90, dtype=np.uint8))
    enrolled = client.post("/v1/enroll", data={"subject": "one"}, files={"images": one})
    assert enrolled.status_code == 201
    client.post("/v1/verify", data=at, files={"probe": one, "reference": one}).raise_for_status()
    client.post("/v1/verify", data=at, files={"probe": small, "reference": other}).raise_for_status()
    client.post("/v1/identify", data=at, files={"image": one}).raise_for_status()
    client.post("/v1/identify", data=at, files={"image": other}).raise_for_status()
    client.post("/v1/embed", files={"image": one}).raise_for_status()
    client.post("/v1/detect", files={"image": nobody}).raise_for_status()
    assert client.post("/v1/verify", data=at, files={"probe": grey, "reference": one}).status_code == 422
    assert client.get("/v1/collections", headers={"Authorization": "Bearer nonsense"}).status_code == 401


@pytest.fixture(scope="module")
def prometheus(service: tuple[str, Use], tmp_path_factory: pytest.TempPathFactory) -> Iterator[Prometheus]:
    address, use = service
    with watching(copy_configuration(tmp_path_factory.mktemp("prometheus"), address)) as running:
        use()  # every series exists before the first scrape, so that the next use is an increase
        running.wait_for('count_over_time(up{job="facet"}[1m]) >= 3')
        use()  # a scrape may fall into the middle of it: what its last steps count is waited for as well
        running.wait_for('facet:match:ratio15m{route="verify"} > 0')
        running.wait_for("facet:no_face:ratio15m > 0")
        yield running


def test_configuration_and_rules_pass_promtool() -> None:
    printed = run("promtool", "check", "config", "--lint-fatal", DEPLOY / "prometheus" / "prometheus.yml")
    for kind in ("alert", "record"):
        assert f"{len(rule_expressions(kind))} rules found" in printed


def test_alerts_fire_on_what_they_are_for() -> None:
    run("promtool", "test", "rules", ROOT / "tests" / "deploy" / "alerts_test.yml")


def test_what_the_service_exposes_passes_promtool(service: tuple[str, Use]) -> None:
    text = httpx.get(f"{service[0]}/metrics").raise_for_status().text
    checked = subprocess.run(["promtool", "check", "metrics"], input=text, capture_output=True, text=True, check=False)
    complaints = [line for line in checked.stderr.splitlines() if line.startswith("facet_")]
    assert not complaints
    assert checked.returncode in (0, 3)  # 3: lint findings, all about series of client libraries


@pytest.mark.parametrize("query", [*dashboard_queries(), *rule_queries()], ids=lambda query: query.source)
def test_every_query_is_answered(query: Query, prometheus: Prometheus) -> None:
    found = prometheus.ask(query.expression)
    if not is_silent(query) and "comparison.json" not in query.source:  # that one is asked where models are compared
        assert found, query.expression


def test_rules_are_healthy_and_nothing_fires(prometheus: Prometheus) -> None:
    groups = prometheus.client.get("/api/v1/rules").json()["data"]["groups"]
    known = [rule for group in groups for rule in group["rules"]]
    assert len(known) == len(rule_expressions("record")) + len(rule_expressions("alert"))
    assert [rule["name"] for rule in known if rule["health"] == "err"] == []
    assert [rule["name"] for rule in known if rule.get("state") == "firing"] == []


def test_the_service_counts_what_it_did(prometheus: Prometheus) -> None:
    matches = prometheus.ask('sum(facet_decisions_total{route="verify", decision="match"})')
    assert float(matches[0]["value"][1]) == 2
    assert float(prometheus.ask("facet_ready")[0]["value"][1]) == 1
    assert float(prometheus.ask('sum(facet_rejections_total{reason="no_face"})')[0]["value"][1]) == 2
    assert 0 < float(prometheus.ask("facet:disk:free_ratio")[0]["value"][1]) < 1
    assert 0 < float(prometheus.ask("facet:no_face:ratio15m")[0]["value"][1]) < 1
