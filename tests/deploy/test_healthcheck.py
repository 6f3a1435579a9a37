"""The health check of the image, run as Docker runs it."""

from __future__ import annotations

import os
import subprocess
import sys
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest

from tests.conftest import ROOT

PROXY = "http://127.0.0.1:9"


class Probe(BaseHTTPRequestHandler):
    """A service that answers /readyz with the status of the moment."""

    status = 200

    def do_GET(self) -> None:
        self.send_response(self.status if self.path == "/readyz" else 404)
        self.end_headers()
        self.wfile.write(b"models answer")

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002 - the library's name
        """Say nothing."""


@pytest.fixture
def port() -> Iterator[int]:
    with ThreadingHTTPServer(("127.0.0.1", 0), Probe) as server:
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        yield server.server_port
        server.shutdown()
        thread.join()


def check(port: int, **more: str) -> subprocess.CompletedProcess[str]:
    environment = {**os.environ, "FACET_PORT": str(port), **more}
    command = [sys.executable, str(ROOT / "deploy" / "healthcheck.py")]
    return subprocess.run(command, env=environment, capture_output=True, text=True, check=False)


def test_the_service_of_the_container_is_asked_whatever_proxy_is_named(port: int) -> None:
    run = check(port, http_proxy=PROXY, HTTP_PROXY=PROXY, no_proxy="", NO_PROXY="")
    assert (run.returncode, run.stdout) == (0, "models answer\n"), run.stderr


def test_one_that_is_not_ready_is_unhealthy(port: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Probe, "status", 503)
    run = check(port)
    assert run.returncode == 1
    assert "not ready: 503 models answer" in run.stderr
