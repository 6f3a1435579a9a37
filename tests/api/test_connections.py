"""Nobody without a key takes the service down: a real server, raw sockets."""

from __future__ import annotations

import contextlib
import resource
import select
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

import httpx2 as httpx
import pytest

from service.api.http.connections import Connections, address_of
from service.bench.hostile.pulse import pulse
from service.bench.hostile.sockets import connect, exchange, rest, status_of
from tests.api.growth import connections, resident
from tests.api.server import Server, environment, serving
from tests.waiting import await_that

PLACES = 64
HEAD_SECONDS = 2
MIB = 1024 * 1024
STALL = 2.0  # seconds, on a machine that is quiet
LIVE = b"GET /livez HTTP/1.1\r\nHost: x\r\n\r\n"
LAST = b"GET /livez HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n"


@pytest.fixture(scope="module")
def server(models: tuple[Path, ...], tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """A server with few places and little patience."""
    data = tmp_path_factory.mktemp("connections") / "data"
    given = {"max_connections": str(PLACES), "head_seconds": str(HEAD_SECONDS), "body_seconds": "2", "workers": "1"}
    with serving(data, models, **given) as server:
        yield server


def test_a_head_without_end_is_refused_and_takes_no_memory(server: Server) -> None:
    line = b"X-Filler: " + b"a" * 1000 + b"\r\n"
    before = resident(server)
    with connect(server.address) as connection, pulse(server.address) as live:
        sent = connection.send(b"GET /livez HTTP/1.1\r\nHost: x\r\n")
        with contextlib.suppress(OSError):
            while sent < 64 * MIB:
                connection.sendall(line * 64)
                sent += len(line) * 64
        with contextlib.suppress(OSError):
            answer = rest(connection)
            assert answer == b"" or status_of(answer) == 431
    assert sent < 8 * MIB, "the server went on reading"
    assert resident(server) - before < 16 * MIB
    assert not live.failures
    assert not live.stalled(STALL)


@pytest.mark.parametrize(
    "head",
    [
        b"GET /" + b"a" * 40_000 + b" HTTP/1.1\r\nHost: x\r\n\r\n",
        b"GET /livez HTTP/1.1\r\nHost: x\r\nX-Filler: " + b"a" * 40_000 + b"\r\n\r\n",
        b"GET /livez HTTP/1.1\r\nHost: x\r\n" + b"X-Filler: a\r\n" * 200 + b"\r\n",
        b"GET /livez HTTP/1.1\r\nHost: x\r\n" + b"X-Filler: " + b"a" * 300_000,
        b"GET /" + b"a" * 300_000,
    ],
    ids=["line", "value", "many", "unfinished value", "unfinished line"],
)
def test_a_large_head_is_answered_431(server: Server, head: bytes) -> None:
    answer = exchange(server.address, head)
    assert status_of(answer) == 431
    assert b"application/problem+json" in answer
    assert b'"head_too_large"' in answer


def test_a_head_of_common_size_is_served(server: Server) -> None:
    head = b"GET /livez HTTP/1.1\r\nHost: x\r\nConnection: close\r\n" + b"".join(
        b"X-%d: %s\r\n" % (number, b"a" * 300) for number in range(60)
    )
    assert status_of(exchange(server.address, head + b"\r\n")) == 200


@pytest.mark.parametrize("end", [b"0;x=" + b"a" * 900_000, b"0\r\nX-Trailer: " + b"a" * 900_000, b"\r\n" * 400_000])
def test_what_surrounds_a_chunked_body_is_bounded(server: Server, end: bytes) -> None:
    head = b"POST /livez HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n"
    before = resident(server)
    with connect(server.address) as connection:
        with contextlib.suppress(OSError):
            connection.sendall(head + end)
        rest(connection)  # comes to its end when the server hangs up
    assert resident(server) - before < 16 * MIB


def test_trailers_never_become_headers(server: Server) -> None:
    head = b"DELETE /v1/collections/x HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\nConnection: close\r\n\r\n"
    answer = exchange(server.address, head + b"0\r\nAuthorization: Bearer %s\r\n\r\n" % str(server.key).encode())
    assert status_of(answer) == 401


@pytest.mark.parametrize(
    "sent", [b"", b"\r\n", b"GET /livez HT", b"GET /livez HTTP/1.1\r\nHost: x\r\nX-Half: 1"], ids=range(4)
)
def test_silent_connections_and_half_heads_end_after_a_time(server: Server, sent: bytes) -> None:
    begun = time.monotonic()
    with connect(server.address) as connection:
        connection.sendall(sent)
        answer = rest(connection)  # comes to its end when the server hangs up
    assert time.monotonic() - begun > HEAD_SECONDS * 0.5
    assert status_of(answer) == (408 if len(sent) > 2 else 0)


def test_a_dripping_head_ends_as_early(server: Server) -> None:
    with connect(server.address) as connection:
        connection.sendall(b"GET /livez HTTP/1.1\r\n")

        def is_hung_up_on() -> bool:
            try:
                connection.sendall(b"X-Drip: 1\r\n")
            except OSError:
                return True
            select.select([], [], [], 0.1)
            return False

        await_that(is_hung_up_on)


def test_silent_connections_do_not_keep_others_out(server: Server) -> None:
    with ExitStack() as stack:
        held = [stack.enter_context(connect(server.address)) for _ in range(4 * PLACES)]
        for connection in held:
            with contextlib.suppress(OSError):
                connection.sendall(b"GET /livez HTTP/1.1\r\nX: ")
        with pulse(server.address) as live:
            assert connections(server) <= PLACES / 2 + 1, "one address holds half of the places"
    assert not live.failures
    assert not live.stalled(STALL)


def test_the_start_says_how_many_files_the_places_need(models: tuple[Path, ...], tmp_path: Path) -> None:
    line = [sys.executable, "-m", "service.cli", "serve", "--port", "0"]

    def limit() -> None:
        resource.setrlimit(resource.RLIMIT_NOFILE, (64, 64))

    environ = environment(tmp_path / "data", models, max_connections="512")
    ran = subprocess.run(line, env=environ, preexec_fn=limit, capture_output=True, text=True, check=False)
    assert ran.returncode == 1
    assert "FACET_MAX_CONNECTIONS" in ran.stderr
    assert "Traceback" not in ran.stderr


def test_a_client_that_reads_no_answer_is_hung_up_on(server: Server) -> None:
    with connect(server.address) as connection:
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        connection.sendall(b"GET /openapi.json HTTP/1.1\r\nHost: x\r\n\r\n" * 100)
        with pulse(server.address) as live:
            await_that(lambda: connections(server) <= 2)  # the one that asks, and at most the pulse's
        assert not live.failures


def test_many_pipelined_requests_are_answered_in_order_and_more_are_not(server: Server) -> None:
    assert exchange(server.address, LIVE * 99 + LAST).count(b"HTTP/1.1 200") == 100
    answer = exchange(server.address, LIVE * 5000)
    assert 100 <= answer.count(b"HTTP/1.1 200") < 5000


@pytest.mark.parametrize(
    "hosts", [b"", b"Host: x\r\nHost: y\r\n", b"Host: x\r\nhost: x\r\n"], ids=["none", "two", "same"]
)
def test_a_request_has_one_host(server: Server, hosts: bytes) -> None:
    answer = exchange(server.address, b"GET /livez HTTP/1.1\r\n" + hosts + b"Connection: close\r\n\r\n")
    assert status_of(answer) == 400
    assert b'"bad_request"' in answer


def test_blanks_after_a_key_are_no_part_of_it(server: Server) -> None:
    for line in (f"X-API-Key: {server.key} \t ", f"Authorization: Bearer {server.key}  "):
        head = f"GET /v1/key HTTP/1.1\r\nHost: x\r\n{line}\r\nConnection: close\r\n\r\n"
        assert status_of(exchange(server.address, head.encode())) == 200, line


def test_http_1_0_needs_no_host(server: Server) -> None:
    assert status_of(exchange(server.address, b"GET /livez HTTP/1.0\r\n\r\n")) == 200


@pytest.mark.parametrize(
    "junk", [b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc", b"nonsense\r\n\r\n", b"GET / HTTP/9.9\r\n\r\n"]
)
def test_what_is_not_http_is_a_problem(server: Server, junk: bytes) -> None:
    answer = exchange(server.address, junk)
    assert status_of(answer) == 400
    assert b"application/problem+json" in answer


def test_a_client_that_closes_its_side_after_asking_gets_its_answer(server: Server, both_jpeg: bytes) -> None:
    assert status_of(exchange(server.address, LIVE, half_close=True)) == 200
    body = b'--b\r\nContent-Disposition: form-data; name="image"; filename="i"\r\n\r\n' + both_jpeg + b"\r\n--b--\r\n"
    head = (
        b"POST /v1/detect HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer %s\r\nContent-Length: %d\r\n"
        b"Content-Type: multipart/form-data; boundary=b\r\n\r\n" % (str(server.key).encode(), len(body))
    )
    answer = exchange(server.address, head + body, half_close=True)
    assert b"HTTP/1.1 200" in answer
    assert b'"faces"' in answer


def test_a_body_that_does_not_come_is_not_waited_for(server: Server) -> None:
    head = (
        b"POST /v1/detect HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer %s\r\nConnection: close\r\n"
        b"Content-Type: multipart/form-data; boundary=b\r\nContent-Length: 50000\r\n\r\n" % str(server.key).encode()
    )
    answer = exchange(server.address, head + b"--b\r\n")
    assert status_of(answer) == 408
    assert b"body_timeout" in answer


def test_forwarded_addresses_are_believed_of_nobody_but_the_proxies_that_are_set(
    models: tuple[Path, ...], tmp_path: Path
) -> None:
    def statuses(**given: str) -> set[int]:
        folder = tmp_path / given.get("trusted_proxies", "none").replace("/", "-")
        folder.mkdir()
        with serving(folder / "data", models, anonymous="true", rate="3/hour", **given) as server:
            return {
                httpx.get(f"{server.address}/v1/models", headers={"X-Forwarded-For": f"10.0.0.{n}"}).status_code
                for n in range(6)
            }

    assert statuses() == {200, 429}
    assert statuses(trusted_proxies="127.0.0.0/8") == {200}


class Held:
    """A connection that only waits."""

    def __init__(self, book: Connections, address: str) -> None:
        self.address = address
        self.closed = False
        self._book = book

    def give_way(self) -> None:
        self.closed = True
        self._book.leave(self)


def enter(book: Connections, address: str) -> Held | None:
    if not book.enter(address):
        return None
    held = Held(book, address)
    book.wait(held)
    return held


def test_the_longest_waiting_of_an_address_gives_way_to_its_next() -> None:
    book = Connections(8)
    first = [enter(book, "a") for _ in range(4)]
    fifth = enter(book, "a")
    assert fifth is not None
    assert [held.closed for held in first if held] == [True, False, False, False]
    assert book.open == 4
    assert enter(book, "b") is not None


def test_what_is_being_served_gives_way_to_nobody() -> None:
    book = Connections(8)
    for _ in range(4):
        held = enter(book, "a")
        assert held is not None
        book.proceed(held)
    assert enter(book, "a") is None
    assert enter(book, "b") is not None


def test_when_all_places_are_taken_the_longest_waiting_of_all_gives_way() -> None:
    book = Connections(4, proxies=["10.0.0.0/8"])
    held = [enter(book, "10.1.2.3") for _ in range(4)]
    assert book.open == 4, "a trusted proxy may hold them all"
    assert enter(book, "b") is not None
    assert held[0] is not None
    assert held[0].closed
    assert book.open == 4


@pytest.mark.parametrize(
    ("host", "address"),
    [
        ("192.0.2.7", "192.0.2.7"),
        ("::ffff:192.0.2.7", "192.0.2.7"),
        ("2001:db8:1:2:3:4:5:6", "2001:db8:1:2::"),
        ("fe80::1%eth0", "fe80::"),
        ("testclient", "testclient"),
    ],
)
def test_an_ipv6_subscriber_is_one_address(host: str, address: str) -> None:
    assert address_of(host) == address
