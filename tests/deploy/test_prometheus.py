"""A real Prometheus scrapes a real service, and answers every query of the dashboards and the rules."""

from __future__ import annotations

import os
import shutil
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import numpy as np
import pytest
import yaml
from numpy.typing import NDArray

from service.bench.server import Server, free_port, make_key
from tests.conftest import ROOT, encode
from tests.deploy.queries import DEPLOY, Query, dashboard_queries, rule_queries, rules

pytestmark = pytest.mark.engines


def run(*command: object) -> str:
    """Run a program that must succeed; returns what it printed."""
    done = subprocess.run([str(word) for word in command], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


@pytest.fixture(scope="module")
def service(
    model_dirs: tuple[Path, ...],
    tmp_path_factory: pytest.TempPathFactory,
    astronaut: NDArray[np.uint8],
    admiral: NDArray[np.uint8],
    cat: NDArray[np.uint8],
) -> Iterator[str]:
    """The address of a service that has done a little of everything."""
    data = tmp_path_factory.mktemp("service") / "data"
    key = make_key(data)
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("FACET_MODEL_DIRS", os.pathsep.join(map(str, model_dirs)))
        with Server(data) as server:
            client = httpx.Client(base_url=server.address, headers={"Authorization": f"Bearer {key}"}, timeout=60)
            with client:
                _use(client, encode(astronaut), encode(admiral), encode(cat))
                yield server.address


def _use(client: httpx.Client, one: bytes, other: bytes, nobody: bytes) -> None:
    at = {"threshold": "0.4"}
    blurred = encode(np.full((64, 64, 3), 90, dtype=np.uint8))
    for _ in range(3):
        enrolled = client.post("/v1/enroll", data={"subject": "one"}, files={"images": one})
        assert enrolled.status_code == 201
        assert client.post("/v1/verify", data=at, files={"probe": one, "reference": one}).json()["decision"] == "match"
        client.post("/v1/verify", data=at, files={"probe": one, "reference": other}).raise_for_status()
        client.post("/v1/identify", data=at, files={"image": one}).raise_for_status()
        client.post("/v1/identify", data=at, files={"image": other}).raise_for_status()
        client.post("/v1/embed", files={"image": one}).raise_for_status()
        client.post("/v1/detect", files={"image": nobody}).raise_for_status()
        assert client.post("/v1/verify", data=at, files={"probe": blurred, "reference": one}).status_code == 422
        assert client.get("/v1/collections", headers={"Authorization": "Bearer nonsense"}).status_code == 401


@pytest.fixture(scope="module")
def prometheus(service: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[httpx.Client]:
    """Debian's Prometheus with the repository's configuration, pointed at the service and in a hurry."""
    binary = shutil.which("prometheus")
    assert binary, "apt-get install prometheus"
    folder = tmp_path_factory.mktemp("prometheus")
    shutil.copytree(DEPLOY / "prometheus", folder / "etc")
    config_file = folder / "etc" / "prometheus.yml"
    config: dict[str, Any] = yaml.safe_load(config_file.read_text())
    config["global"] = {"scrape_interval": "1s", "evaluation_interval": "1s"}
    config["scrape_configs"][0]["static_configs"][0]["targets"] = [service.removeprefix("http://")]
    config_file.write_text(yaml.safe_dump(config))
    address = f"127.0.0.1:{free_port()}"
    with (folder / "log").open("wb") as log:
        process = subprocess.Popen(
            [
                binary,
                f"--config.file={config_file}",
                f"--storage.tsdb.path={folder / 'tsdb'}",
                f"--web.listen-address={address}",
            ],
            stdout=log,
            stderr=log,
        )
    try:
        with httpx.Client(base_url=f"http://{address}", timeout=10) as client:
            _await_samples(client, process, folder / "log")
            yield client
    finally:
        process.terminate()
        process.wait(30)


def _await_samples(client: httpx.Client, process: subprocess.Popen[bytes], log: Path) -> None:
    """Wait until the slowest recording rule has a value, which takes a few scrapes and two evaluations."""
    deadline = time.monotonic() + 60
    while time.monotonic() < deadline:
        assert process.poll() is None, log.read_text()
        try:
            if _ask(
                client,
                'count_over_time(facet:queue:utilisation[1m]) >= 3 and count_over_time(up{job="facet"}[1m]) >= 6',
            ):
                return
        except httpx.TransportError:
            pass
        time.sleep(0.25)
    pytest.fail(f"Prometheus saw no samples: {log.read_text()[-2000:]}")


def _ask(client: httpx.Client, expression: str) -> list[dict[str, Any]]:
    answer = client.post("/api/v1/query", data={"query": expression}).json()
    assert answer["status"] == "success", answer
    assert not answer.get("warnings"), answer
    result: list[dict[str, Any]] = answer["data"]["result"]
    return result


def test_configuration_and_rules_pass_promtool() -> None:
    printed = run("promtool", "check", "config", "--lint-fatal", DEPLOY / "prometheus" / "prometheus.yml")
    assert f"{len(rules('alert'))} rules found" in printed
    assert f"{len(rules('record'))} rules found" in printed


def test_alerts_fire_on_what_they_are_for() -> None:
    run("promtool", "test", "rules", ROOT / "tests" / "deploy" / "alerts_test.yml")


def test_what_the_service_exposes_passes_promtool(service: str) -> None:
    text = httpx.get(f"{service}/metrics").raise_for_status().text
    checked = subprocess.run(["promtool", "check", "metrics"], input=text, capture_output=True, text=True, check=False)
    complaints = [line for line in checked.stderr.splitlines() if line.startswith("facet_")]
    assert not complaints
    assert checked.returncode in (0, 3)  # 3: lint findings, all about series of client libraries


@pytest.mark.parametrize("query", [*dashboard_queries(), *rule_queries()], ids=lambda query: query.source)
def test_every_query_is_answered(query: Query, prometheus: httpx.Client) -> None:
    found = _ask(prometheus, query.expression)
    if not may_be_empty(query):
        assert found, query.expression


def may_be_empty(query: Query) -> bool:
    """Alerts are silent and nothing restarts here; yesterday is out of reach; nothing was refused by the gallery."""
    alerting = query.source.removeprefix("rule ") in rules("alert") or query.expression.startswith("ALERTS")
    return alerting or "annotation" in query.source or "offset" in query.expression or "Refused changes" in query.source


def test_rules_are_healthy_and_nothing_fires(prometheus: httpx.Client) -> None:
    groups = prometheus.get("/api/v1/rules").json()["data"]["groups"]
    known = [rule for group in groups for rule in group["rules"]]
    assert len(known) == len(rules("record")) + len(rules("alert"))
    assert [rule["name"] for rule in known if rule["health"] == "err"] == []
    assert [rule["name"] for rule in known if rule.get("state") == "firing"] == []


def test_the_service_counts_what_it_did(prometheus: httpx.Client) -> None:
    matches = _ask(prometheus, 'sum(facet_decisions_total{route="/v1/verify", decision="match"})')
    assert float(matches[0]["value"][1]) == 3
    assert float(_ask(prometheus, "facet_ready")[0]["value"][1]) == 1
    assert float(_ask(prometheus, 'sum(facet_rejections_total{reason="no_face"})')[0]["value"][1]) == 3
    free = float(_ask(prometheus, "facet:disk:free_ratio")[0]["value"][1])
    assert 0 < free < 1
