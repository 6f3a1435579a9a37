"""No key stalls others: a real server, a key that may do little, and the most expensive things it can send."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest
from typer.testing import CliRunner

from service.bench.hostile.pulse import pulse
from service.bench.hostile.sockets import connect, exchange, status_of
from service.cli import app
from tests.api.growth import resident
from tests.api.server import Server, serving

LIVE = b"GET /livez HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n"
MIB = 1024 * 1024
LONGEST = 30.0  # seconds on a quiet machine; before, up to 65 on a machine that did nothing else
STALL = 2.0  # seconds on a quiet machine; before, it was 10 to 23 for the same bodies
OUTCOME = "/v1/decisions/x/outcome"
LISTS = b"[" + b",".join([b"[]"] * (3 * MIB)) + b"]"
FIELDS = b"{" + b",".join(b'"%x":1' % number for number in range(MIB)) + b"}"
METADATA = b'{"subject":"x","images":["aaaa"],"metadata":{' + b",".join(b'"%x":[]' % n for n in range(100_000)) + b"}}"


@pytest.fixture(scope="module")
def server(models: tuple[Path, ...], tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    with serving(tmp_path_factory.mktemp("stalls") / "data", models) as server:
        yield server


@pytest.fixture(scope="module")
def weak(server: Server) -> str:
    """A key that may hardly do anything: to read in a collection that nobody is in."""
    with server.client() as client:
        assert client.post("/v1/collections", json={"name": "nowhere"}).status_code == 201
    data = server.log.parent / "data"
    words = ["keys", "create", "weak", "--scope", "read", "--collection", "nowhere", "--data", str(data)]
    made = CliRunner().invoke(app, words)
    assert made.exit_code == 0, made.output
    return made.stdout.strip()


def head(path: str, key: str, length: int, media: str = "application/json") -> bytes:
    """The head of a POST."""
    return (
        f"POST {path} HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer {key}\r\nConnection: close\r\n"
        f"Content-Type: {media}\r\nContent-Length: {length}\r\n\r\n"
    ).encode()


@pytest.mark.parametrize(
    ("path", "body"),
    [
        (OUTCOME, LISTS),
        (OUTCOME, FIELDS),
        (OUTCOME, b'{"outcome":"' + b"x" * (20 * MIB) + b'"}'),
        ("/v1/detect", LISTS),
        ("/v1/detect", FIELDS),
        ("/v1/detect", b'{"image":"' + b"\\u0041" * (2 * MIB) + b'"}'),
        ("/v1/detect", b'{"' + b"k" * (12 * MIB) + b'":1}'),
        ("/v1/enroll", b'{"subject":"x","images":' + LISTS + b"}"),
        ("/v1/enroll", METADATA),
        ("/v1/enroll", b'{"subject":"x","images":["' + b"A" * (50 * MIB) + b'"]}'),
    ],
    ids=range(10),
)
def test_json_is_read_in_bounded_time(server: Server, weak: str, path: str, body: bytes) -> None:
    key = weak if path == OUTCOME else str(server.key)
    before = resident(server)
    with pulse(server.address) as live:
        begun = time.monotonic()
        answer = exchange(server.address, head(path, key, len(body)) + body)
        seconds = time.monotonic() - begun
    assert status_of(answer) in (0, 400, 413, 422), answer[:300]
    assert len(answer) < 20_000
    assert not live.failures
    assert not live.stalled(STALL)
    assert seconds < LONGEST * live.slowness
    assert resident(server) - before < 200 * MIB


def test_the_document_is_made_once(server: Server) -> None:
    asked = b"GET /openapi.json HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n"
    first = exchange(server.address, asked)
    with pulse(server.address) as live:
        begun = time.monotonic()
        answers = {exchange(server.address, asked).partition(b"\r\n\r\n")[2] for _ in range(20)}
        seconds = time.monotonic() - begun
    assert answers == {first.partition(b"\r\n\r\n")[2]}
    assert b'"openapi":"3.1' in first
    assert seconds < 10 * live.slowness, "before, each took about one"
    assert not live.stalled(STALL)


def test_routes_whose_body_is_an_id_take_kilobytes(server: Server, weak: str) -> None:
    body = b'{"outcome":"genuine"' + b" " * 32_000 + b"}"
    assert b'"body_too_large"' in exchange(server.address, head(OUTCOME, weak, len(body)) + body)
    small = b'{"outcome":"genuine"' + b" " * 8_000 + b"}"
    assert b'"decision_not_found"' in exchange(server.address, head(OUTCOME, weak, len(small)) + small)


def test_bodies_that_do_not_come_keep_nobody_else_from_sending(
    server: Server, weak: str, models: tuple[Path, ...], astronaut_jpeg: bytes
) -> None:
    largest = 64 * MIB
    other = CliRunner().invoke(
        app, ["keys", "create", "b", "--scope", "enrol", "--data", str(server.log.parent / "data")]
    )
    with ExitStack() as stack:
        for path in (OUTCOME, "/v1/enroll"):
            for _ in range(100):
                connection = stack.enter_context(connect(server.address))
                key = weak if path == OUTCOME else other.stdout.strip()
                with contextlib.suppress(OSError):
                    connection.sendall(head(path, key, 8_000 if path == OUTCOME else largest) + b"{")
        assert status_of(exchange(server.address, LIVE)) == 200, "the requests before have been looked at"
        with server.client() as client, pulse(server.address) as live:
            for _ in range(5):
                answer = client.post("/v1/detect", files={"image": ("i", astronaut_jpeg)})
                assert answer.status_code == 200, answer.text
        assert not live.failures
        assert not live.stalled(STALL)


@pytest.mark.parametrize(
    "path",
    [
        "/v1/comparisons?since=0001-01-01T00:00:00%2B14:00",
        "/v1/comparisons?until=9999-12-31T23:59:59-14:00",
        "/v1/comparisons/cases?since=0001-01-01T00:00:00%2B14:00",
        "/v1/collections/%00",
        "/v1/collections/a%00b/subjects",
        "/v1/collections/default/subjects/%00",
        "/v1/collections/default/subjects?prefix=%00",
        "/v1/collections/default/faces/%00",
        "/v1/collections?cursor=%00",
        "/v1/models/%00/coverage",
        "/v1/reembeddings/%00",
        "/v1/comparisons?collection=%00",
    ],
)
def test_what_no_database_can_hold_is_refused_as_input(server: Server, path: str) -> None:
    with server.client() as client:
        answer = client.get(path)
    assert (answer.status_code, answer.json()["code"]) == (422, "request_invalid"), answer.text


@pytest.mark.parametrize(
    ("path", "body"),
    [
        (OUTCOME, {"outcome": "genuine", "face": 2**63}),
        (OUTCOME, {"outcome": "genuine", "face": 2**40}),
        (OUTCOME, {"outcome": "genuine", "face": 10**400}),
        ("/v1/collections", {"name": "a\0b"}),
        ("/v1/collections", {"name": "nul-1", "metadata": {"a\0": 1}}),
        ("/v1/collections", {"name": "nul-2", "metadata": {"a": "\0"}}),
        ("/v1/collections", {"name": "many", "metadata": {str(n): n for n in range(51)}}),
    ],
    ids=range(7),
)
def test_values_no_database_can_hold_are_refused_in_bodies_as_well(
    server: Server, path: str, body: dict[str, object]
) -> None:
    with server.client() as client:
        answer = client.post(path, json=body)
    assert (answer.status_code, answer.json()["code"]) == (422, "request_invalid"), answer.text
