"""A real server process: first start, restart, graceful stop, hang-ups, overload."""

from __future__ import annotations

import re
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import quote, urlsplit

import httpx2 as httpx
import pytest
from typer.testing import CliRunner

from service.cli import app
from tests.api.server import Server, environment, serving

BOUNDARY = "boundary"


@pytest.fixture(scope="module")
def server(models: tuple[Path, ...], tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """A server with one worker and a queue of two."""
    data = tmp_path_factory.mktemp("server") / "data"
    with serving(data, models, workers="1", queue_limit="2", body_seconds="1") as server:
        yield server


def command(data: Path, models: tuple[Path, ...], *words: str) -> subprocess.CompletedProcess[str]:
    """Run `facet` with these words."""
    line = [sys.executable, "-m", "service.cli", *words]
    environ = environment(data, models)
    return subprocess.run(line, env=environ, capture_output=True, text=True, timeout=60, check=False)


def sample(server: Server, series: str) -> float:
    """The value of one series without labels."""
    text = httpx.get(f"{server.address}/metrics", timeout=20).text
    found = re.search(rf"^{series} ([0-9.e+-]+)$", text, re.MULTILINE)
    return float(found.group(1)) if found else 0.0


def form(name: str, data: bytes) -> bytes:
    """A multipart form with one image."""
    head = f'--{BOUNDARY}\r\nContent-Disposition: form-data; name="{name}"; filename="i"\r\n\r\n'
    return head.encode() + data + f"\r\n--{BOUNDARY}--\r\n".encode()


def send(server: Server, path: str, body: bytes, sent: int | None = None) -> socket.socket:
    """Send a request by hand, or only its first bytes; the connection is given back unread."""
    place = urlsplit(server.address)
    connection = socket.create_connection((place.hostname or "", place.port or 0), timeout=30)
    head = (
        f"POST {path} HTTP/1.1\r\nHost: {place.netloc}\r\nAuthorization: Bearer {server.key}\r\n"
        f"Content-Type: multipart/form-data; boundary={BOUNDARY}\r\nContent-Length: {len(body)}\r\n\r\n"
    )
    connection.sendall(head.encode() + body[:sent])
    return connection


def test_first_start_restart_and_stop(
    models: tuple[Path, ...], tmp_path: Path, astronaut_jpeg: bytes, both_jpeg: bytes
) -> None:
    data = tmp_path / "data"
    with serving(data, models) as first:
        key = first.key
        assert key is not None
        line = next(line for line in first.printed.splitlines() if line.strip().startswith("curl"))
        ran = subprocess.run(["bash", "-c", line], capture_output=True, text=True, timeout=30, check=True)
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
    deadline = time.monotonic() + 10
    while sample(server, "facet_queue_depth") < 2 and time.monotonic() < deadline:
        pass
    server.stop()
    for thread in threads:
        thread.join(30)
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
    lock = threading.Lock()

    def ask() -> None:
        with server.client() as client:
            answer = client.post("/v1/detect", files={"image": ("i", both_jpeg)})
            with lock:
                answers.append((answer.status_code, answer.headers.get("Retry-After")))

    threads = [threading.Thread(target=ask) for _ in range(16)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    assert len(answers) == 16
    assert {status for status, _ in answers} == {200, 503}
    assert all(after is not None and int(after) >= 1 for status, after in answers if status == 503)
    assert (sample(server, "facet_queue_depth"), sample(server, "facet_in_flight")) == (0, 0)


def test_a_client_that_hangs_up_frees_its_place(server: Server, both_jpeg: bytes) -> None:
    body = form("image", both_jpeg)
    connections = [send(server, "/v1/detect", body) for _ in range(3)]
    deadline = time.monotonic() + 10
    while sample(server, "facet_queue_depth") < 1 and time.monotonic() < deadline:
        pass
    for connection in connections:
        connection.close()
    deadline = time.monotonic() + 10
    while sample(server, "facet_queue_depth") + sample(server, "facet_in_flight") and time.monotonic() < deadline:
        time.sleep(0.01)
    assert sample(server, "facet_queue_depth") == 0
    text = httpx.get(f"{server.address}/metrics").text
    assert 'facet_rejections_total{reason="abandoned",route="/v1/detect"}' in text
    with server.client() as client:
        assert client.post("/v1/detect", files={"image": ("i", both_jpeg)}).status_code == 200


def test_a_body_that_does_not_come_is_not_waited_for(server: Server, both_jpeg: bytes) -> None:
    begun = time.monotonic()
    with send(server, "/v1/detect", form("image", both_jpeg), sent=1000) as connection:
        answer = b""
        while b"}" not in answer and (part := connection.recv(4096)):
            answer += part
    assert answer.startswith(b"HTTP/1.1 408")
    assert b"body_timeout" in answer
    assert time.monotonic() - begun < 10
