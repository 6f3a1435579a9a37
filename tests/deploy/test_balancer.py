"""The balancer's configuration, before replicas that say what they were sent and whose addresses change."""

from __future__ import annotations

import os
import socket
import struct
import subprocess
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import httpx
import pytest

from service.bench.server import free_port
from service.settings.limits import Limits
from tests.conftest import ROOT
from tests.waiting import PATIENCE, await_that

pytestmark = [pytest.mark.engines, pytest.mark.needs("haproxy")]

FOLDER = ROOT / "deploy" / "haproxy"
NAME = "replica.test"


class Replica(BaseHTTPRequestHandler):
    """Is always ready, and answers with its own address and the X-Forwarded-For that it was sent."""

    protocol_version = "HTTP/1.1"

    def do_GET(self) -> None:
        forwarded = ", ".join(self.headers.get_all("X-Forwarded-For") or [])
        body = f"{self.connection.getsockname()[0]} {forwarded}".encode()
        self.send_response(200)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002 - the library's name
        """Say nothing."""


@contextmanager
def replica(address: str, port: int = 0) -> Iterator[int]:
    """A replica at an address of the loopback interface; gives its port."""
    with ThreadingHTTPServer((address, port), Replica) as server:
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        try:
            yield server.server_port
        finally:
            server.shutdown()
            thread.join()


class Names:
    """A name server that knows one name, and gives it the address that it has at the time."""

    def __init__(self, address: str) -> None:
        self.address = address
        self._socket = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        self._socket.bind(("127.0.0.1", 0))
        self.port: int = self._socket.getsockname()[1]
        self._thread = threading.Thread(target=self._serve)

    def __enter__(self) -> Names:
        self._thread.start()
        return self

    def __exit__(self, *error: object) -> None:
        self._socket.sendto(b"", ("127.0.0.1", self.port))
        self._thread.join()
        self._socket.close()

    def _serve(self) -> None:
        while (received := self._socket.recvfrom(2000))[0]:
            question, client = received
            self._socket.sendto(self._answer(question), client)

    def _answer(self, question: bytes) -> bytes:
        """RFC 1035: one A record for a question of type A, none for others."""
        end = question.index(b"\0", 12) + 5
        (kind,) = struct.unpack(">H", question[end - 4 : end - 2])
        record = struct.pack(">HHHIH", 0xC00C, 1, 1, 0, 4) + socket.inet_aton(self.address)
        head = question[:2] + struct.pack(">HHHHH", 0x8180, 1, kind == 1, 0, 0)
        return head + question[12:end] + (record if kind == 1 else b"")


@contextmanager
def balancing(folder: Path, names: Names, server: str) -> Iterator[httpx.Client]:
    """Run haproxy before one server, with this name server in place of the machine's own; gives a client."""
    text = (FOLDER / "haproxy.cfg").read_text()
    assert "parse-resolv-conf" in text
    config = folder / "haproxy.cfg"
    config.write_text(text.replace("parse-resolv-conf", f"nameserver names 127.0.0.1:{names.port}"))
    nobody, bind = f"127.0.0.1:{free_port()}", f"127.0.0.1:{free_port()}"
    own = {"BIND": bind, "ERRORS": str(FOLDER), "ONE": server, "TWO": nobody, "THREE": nobody}
    environment = {**os.environ, **{f"FACET_{name}": value for name, value in own.items()}}
    with (folder / "log").open("wb") as log:
        process = subprocess.Popen(["haproxy", "-db", "-f", config], env=environment, stdout=log, stderr=log)
    try:
        with httpx.Client(base_url=f"http://{bind}", timeout=PATIENCE, trust_env=False) as client:
            yield client
    finally:
        process.kill()
        process.wait()


def answer(client: httpx.Client, **headers: str) -> str:
    """What a replica answers; nothing while none does."""
    try:
        response = client.get("/v1/models", headers=headers)
    except httpx.TransportError:  # haproxy does not listen yet
        return ""
    return response.text if response.status_code == 200 else ""


def test_replicas_are_told_who_asks_whatever_the_client_says(tmp_path: Path) -> None:
    with (
        replica("127.0.0.1") as port,
        Names("127.0.0.1") as names,
        balancing(tmp_path, names, f"127.0.0.1:{port}") as client,
    ):
        assert await_that(lambda: answer(client)) == "127.0.0.1 127.0.0.1"
        assert answer(client, **{"X-Forwarded-For": "198.51.100.7"}) == "127.0.0.1 198.51.100.7, 127.0.0.1"


def test_a_head_as_long_as_replicas_take_reaches_them(tmp_path: Path) -> None:
    longest = Limits().max_head_bytes
    with (
        replica("127.0.0.1") as port,
        Names("127.0.0.1") as names,
        balancing(tmp_path, names, f"127.0.0.1:{port}") as client,
    ):
        await_that(lambda: answer(client))
        assert answer(client, **{"X-Long": "a" * (longest - 1000)})


def test_a_replica_that_comes_back_at_another_address_is_found(tmp_path: Path) -> None:
    with (
        Names("127.0.0.2") as names,
        replica("127.0.0.2") as port,
        replica("127.0.0.3", port),
        balancing(tmp_path, names, f"{NAME}:{port}") as client,
    ):
        await_that(lambda: answer(client).startswith("127.0.0.2 "))
        names.address = "127.0.0.3"
        await_that(lambda: answer(client).startswith("127.0.0.3 "))
