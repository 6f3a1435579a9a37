"""A real server process: first start, restart, graceful stop, hang-ups, overload."""

from __future__ import annotations

import re
import socket
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import quote, urlsplit

import httpx2 as httpx
import numpy as np
import pytest
from typer.testing import CliRunner

from service.cli import app
from tests.api.server import Server, environment, serving
from tests.conftest import encode
from tests.waiting import PATIENCE, await_that

BOUNDARY = "boundary"


@pytest.fixture(scope="module")
def server(models: tuple[Path, ...], tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """A server with one worker and a queue of two."""
    data = tmp_path_factory.mktemp("server") / "data"
    with serving(data, models, workers="1", queue_limit="2") as server:
        yield server


def command(data: Path, models: tuple[Path, ...], *words: str) -> subprocess.CompletedProcess[str]:
    """Run `facet` with these words."""
    line = [sys.executable, "-m", "service.cli", *words]
    environ = environment(data, models)
    return subprocess.run(line, env=environ, capture_output=True, text=True, timeout=PATIENCE, check=False)


def samples(server: Server, *series: str) -> list[float]:
    """The values of series at one moment; 0 of those that there are none of."""
    text = httpx.get(f"{server.address}/metrics", timeout=PATIENCE).text
    found = [re.search(rf"^{re.escape(each)} ([0-9.e+-]+)$", text, re.MULTILINE) for each in series]
    return [float(each.group(1)) if each else 0.0 for each in found]


def admitted(server: Server) -> float:
    """Requests that wait or run at this moment."""
    return sum(samples(server, "facet_queue_depth", "facet_in_flight"))


def form(name: str, data: bytes) -> bytes:
    """A multipart form with one image."""
    head = f'--{BOUNDARY}\r\nContent-Disposition: form-data; name="{name}"; filename="i"\r\n\r\n'
    return head.encode() + data + f"\r\n--{BOUNDARY}--\r\n".encode()


def send(server: Server, path: str, body: bytes) -> socket.socket:
    """Send a request by hand; the connection is given back unread."""
    place = urlsplit(server.address)
    connection = socket.create_connection((place.hostname or "", place.port or 0), timeout=PATIENCE)
    head = (
        f"POST {path} HTTP/1.1\r\nHost: {place.netloc}\r\nAuthorization: Bearer {server.key}\r\n"
        f"Content-Type: multipart/form-data; boundary={BOUNDARY}\r\nContent-Length: {len(body)}\r\n\r\n"
    )
    connection.sendall(head.encode() + body)
    return connection


def test_first_start_restart_and_stop(
    models: tuple[Path, ...], tmp_path: Path, astronaut_jpeg: bytes, both_jpeg: bytes
) -> None:
    data = tmp_path / "data"
    with serving(data, models) as first:
        key = first.key
        assert key is not None
        line = next(line for line in first.printed.splitlines() if line.strip().startswith("curl"))
        ran = subprocess.run(["bash", "-c", line], capture_output=True, text=True, timeout=PATIENCE, check=True)
        assert '"default"' in ran.stdout, "the curl line that is printed works"
        assert f"{first.address}/docs" in first.printed
        assert httpx.get(f"{first.address}/docs").status_code == 200
        with first.client() as client:
            made = client.post("/v1/enroll", data={"subject": "ann"}, files={"images": ("i", astronaut_jpeg)})
            assert made.status_code == 201
        assert first.stop() == 0
    with serving(data, models, workers="1") as second:
        assert second.key is None, "a later start prints no key"
        with second.client(key) as client:
            found = client.post("/v1/identify", data={"threshold": "0.9"}, files={"image": ("i", astronaut_jpeg)})
            assert found.json()["faces"][0]["candidates"][0]["subject"] == "ann"
        assert stopped_under_load(second, key, both_jpeg) == [200] * 6, "what was admitted is finished"
        assert "Traceback" not in second.printed


def stopped_under_load(server: Server, key: str, photo: bytes) -> list[int]:
    """Stop a server while six requests wait or run; returns the status that each of them got."""
    statuses: list[int] = []

    def ask() -> None:
        with server.client(key) as client:
            statuses.append(client.post("/v1/detect", files={"image": ("i", photo)}).status_code)

    threads = [threading.Thread(target=ask) for _ in range(6)]
    for thread in threads:
        thread.start()
    await_that(lambda: len(statuses) + admitted(server) == len(threads))  # in this order nobody is counted twice
    server.stop()
    for thread in threads:
        thread.join()
    return statuses


def test_keys_made_and_revoked_beside_a_running_server_count_at_once(server: Server) -> None:
    data = server.log.parent / "data"
    made = CliRunner().invoke(app, ["keys", "create", "door", "--scope", "verify", "--days", "2", "--data", str(data)])
    assert made.exit_code == 0, made.output
    key = made.stdout.strip()
    with server.client(key) as client:
        assert client.get("/v1/models").status_code == 200
        assert client.get("/v1/collections").json()["code"] == "scope_missing"
        revoked = CliRunner().invoke(app, ["keys", "revoke", key.split("_")[1], "--data", str(data)])
        assert revoked.exit_code == 0, revoked.output
        assert client.get("/v1/models").status_code == 401
    listed = CliRunner().invoke(app, ["keys", "list", "--data", str(data)]).stdout
    assert "door" in listed
    assert "revoked" in listed
    assert key.split("_")[2] not in listed


def test_a_second_server_on_one_folder_says_so_and_ends(server: Server, models: tuple[Path, ...]) -> None:
    data = server.log.parent / "data"
    second = command(data, models, "serve", "--port", "0")
    assert second.returncode != 0
    assert "open in another process" in second.stderr
    assert "Traceback" not in second.stderr + second.stdout


def test_names_with_escapes_come_through(server: Server) -> None:
    with server.client() as client:
        name = "50%20? 東京"
        assert client.post("/v1/collections", json={"name": name}).status_code == 201
        assert client.get(f"/v1/collections/{quote(name, safe='')}").json()["name"] == name
        assert client.delete(f"/v1/collections/{quote(name, safe='')}").status_code == 200


def test_overload_is_refused_with_a_time_to_come_back_and_every_request_is_answered(
    server: Server, both_jpeg: bytes
) -> None:
    answers: list[tuple[int, str | None]] = []
    kinds: set[int] = set()

    def ask() -> None:
        """Ask until the service had too much to do, however soon it does it."""
        with server.client() as client:
            while True:
                answer = client.post("/v1/detect", files={"image": ("i", both_jpeg)})
                answers.append((answer.status_code, answer.headers.get("Retry-After")))
                kinds.add(answer.status_code)
                if kinds >= {200, 503} or kinds - {200, 503}:
                    return

    threads = [threading.Thread(target=ask) for _ in range(16)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(answers) >= 16
    assert {status for status, _ in answers} == {200, 503}
    assert all(after is not None and int(after) >= 1 for status, after in answers if status == 503)
    assert admitted(server) == 0


def test_a_client_that_hangs_up_frees_its_place(server: Server, both_jpeg: bytes) -> None:
    body = form("image", encode(np.zeros((6000, 6000, 3), np.uint8), "PNG"))  # which takes a while to look at

    def hang_up() -> bool:
        """Send three and leave; whether the service noticed of one while it still had it."""
        for connection in [send(server, "/v1/detect", body) for _ in range(3)]:
            connection.close()
        await_that(lambda: admitted(server) == 0)
        return samples(server, 'facet_rejections_total{reason="abandoned",route="/v1/detect"}') > [0.0]

    await_that(hang_up)
    with server.client() as client:
        assert client.post("/v1/detect", files={"image": ("i", both_jpeg)}).status_code == 200
