"""A real Prometheus scrapes a real service, and answers every query of the dashboards and the rules."""

from __future__ import annotations

import os
import shutil
import subprocess
import time
from collections.abc import Callable, Iterator
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
def prometheus(service: tuple[str, Use], tmp_path_factory: pytest.TempPathFactory) -> Iterator[httpx.Client]:
    """Debian's Prometheus with the repository's configuration, pointed at the service and in a hurry."""
    address, use = service
    binary = shutil.which("prometheus")
    assert binary, "apt-get install prometheus"
    folder = tmp_path_factory.mktemp("prometheus")
    shutil.copytree(DEPLOY / "prometheus", folder / "etc")
    config_file = folder / "etc" / "prometheus.yml"
    config: dict[str, Any] = yaml.safe_load(config_file.read_text())
    config["global"] = {"scrape_interval": "1s", "evaluation_interval": "1s"}
    config["scrape_configs"][0]["static_configs"][0]["targets"] = [address.removeprefix("http://")]
    config_file.write_text(yaml.safe_dump(config))
    listen = f"127.0.0.1:{free_port()}"
    with (folder / "log").open("wb") as log:
        process = subprocess.Popen(
            [
                binary,
                f"--config.file={config_file}",
                f"--storage.tsdb.path={folder / 'tsdb'}",
                f"--web.listen-address={listen}",
            ],
            stdout=log,
            stderr=log,
        )
    try:
        with httpx.Client(base_url=f"http://{listen}", timeout=10) as client:
            use()  # every series exists before the first scrape, so that the next use is an increase
            _await(client, 'count_over_time(up{job="facet"}[1m]) >= 3', process, folder / "log")
            use()
            _await(client, 'facet:match:ratio15m{route="verify"} > 0', process, folder / "log")
            yield client
    finally:
        process.terminate()
        process.wait(30)


def _await(client: httpx.Client, condition: str, process: subprocess.Popen[bytes], log: Path) -> None:
    """Wait until a query has an answer."""
    deadline = time.monotonic() + 60
    while time.monotonic() < deadline:
        assert process.poll() is None, log.read_text()
        try:
            if _ask(client, condition):
                return
        except httpx.TransportError:
            pass
        time.sleep(0.25)
    pytest.fail(f"never came true: {condition}\n{log.read_text()[-2000:]}")


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


def test_what_the_service_exposes_passes_promtool(service: tuple[str, Use]) -> None:
    text = httpx.get(f"{service[0]}/metrics").raise_for_status().text
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
    """Alerts are silent; nothing restarts; yesterday is out of reach; the gallery refused nothing; no challenger."""
    alerting = query.source.removeprefix("rule ") in rules("alert") or query.expression.startswith("ALERTS")
    absent = ("annotation", "Refused changes", "comparison.json")
    return alerting or "offset" in query.expression or any(part in query.source for part in absent)


def test_rules_are_healthy_and_nothing_fires(prometheus: httpx.Client) -> None:
    groups = prometheus.get("/api/v1/rules").json()["data"]["groups"]
    known = [rule for group in groups for rule in group["rules"]]
    assert len(known) == len(rules("record")) + len(rules("alert"))
    assert [rule["name"] for rule in known if rule["health"] == "err"] == []
    assert [rule["name"] for rule in known if rule.get("state") == "firing"] == []


def test_the_service_counts_what_it_did(prometheus: httpx.Client) -> None:
    matches = _ask(prometheus, 'sum(facet_decisions_total{route="verify", decision="match"})')
    assert float(matches[0]["value"][1]) == 2
    assert float(_ask(prometheus, "facet_ready")[0]["value"][1]) == 1
    assert float(_ask(prometheus, 'sum(facet_rejections_total{reason="no_face"})')[0]["value"][1]) == 2
    assert 0 < float(_ask(prometheus, "facet:disk:free_ratio")[0]["value"][1]) < 1
    assert 0 < float(_ask(prometheus, "facet:no_face:ratio15m")[0]["value"][1]) < 1
