"""Debian's Prometheus with the repository's configuration, pointed at one service and in a hurry."""

from __future__ import annotations

import shutil
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx
import pytest
import yaml

from service.bench.server import free_port
from tests.deploy.queries import DEPLOY
from tests.waiting import PATIENCE


@dataclass(frozen=True)
class Prometheus:
    """A running Prometheus: its process, a client of its API, its log."""

    process: subprocess.Popen[bytes]
    client: httpx.Client
    log: Path

    def ask(self, expression: str) -> list[dict[str, Any]]:
        """What a query finds now."""
        answer = self.client.post("/api/v1/query", data={"query": expression}).json()
        assert answer["status"] == "success", answer
        assert not answer.get("warnings"), answer
        result: list[dict[str, Any]] = answer["data"]["result"]
        return result

    def wait_for(self, condition: str, seconds: float = PATIENCE) -> list[dict[str, Any]]:
        """Wait until a query finds something."""
        deadline = time.monotonic() + seconds
        while time.monotonic() < deadline:
            assert self.process.poll() is None, self.log.read_text()
            try:
                if found := self.ask(condition):
                    return found
            except httpx.TransportError:
                pass
            time.sleep(0.25)
        pytest.fail(f"never came true: {condition}\n{self.log.read_text()[-2000:]}")


def copy_configuration(folder: Path, address: str) -> Path:
    """The repository's configuration with one target and an interval of a second; returns its folder."""
    etc = folder / "etc"
    shutil.copytree(DEPLOY / "prometheus", etc)
    config: dict[str, Any] = yaml.safe_load((etc / "prometheus.yml").read_text())
    config["global"] = {"scrape_interval": "1s", "evaluation_interval": "1s"}
    config["scrape_configs"][0]["static_configs"][0]["targets"] = [address.removeprefix("http://")]
    (etc / "prometheus.yml").write_text(yaml.safe_dump(config))
    return etc


@contextmanager
def watching(etc: Path) -> Iterator[Prometheus]:
    """Start Prometheus on a configuration; it is stopped on leaving."""
    binary = shutil.which("prometheus")
    assert binary, "apt-get install prometheus"
    listen, log = f"127.0.0.1:{free_port()}", etc.parent / "log"
    options = [f"--config.file={etc / 'prometheus.yml'}", f"--storage.tsdb.path={etc.parent / 'tsdb'}"]
    with log.open("wb") as output:
        process = subprocess.Popen([binary, *options, f"--web.listen-address={listen}"], stdout=output, stderr=output)
    try:
        with httpx.Client(base_url=f"http://{listen}", timeout=PATIENCE) as client:
            yield Prometheus(process, client, log)
    finally:
        process.terminate()
        process.wait(PATIENCE)
