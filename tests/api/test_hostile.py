"""Whatever is sent, the answer is a problem of the caller's, soon, and tells nothing of the inside."""

from __future__ import annotations

import http.client
import re
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from urllib.parse import urlsplit

import pytest

from service.bench.hostile.pulse import pulse
from service.bench.hostile.sockets import exchange
from tests.api.growth import connections, descriptors, resident, threads
from tests.api.hostile import Attack, attacks
from tests.api.raw import raw_attacks
from tests.api.server import Server, serving
from tests.api.test_contract import cases_of, probe
from tests.waiting import PATIENCE, await_that

LEAK = re.compile(rb'Traceback|File "|\.py\b|/work/|/usr/|/home/|/tmp/|site-packages|sqlite3|SELECT |onnxruntime')


def fire(server: Server, attack: Attack) -> tuple[int, bytes]:
    """Send an attack as it stands, on a connection of its own; returns status and body (0: the server hung up)."""
    place = urlsplit(server.address)
    connection = http.client.HTTPConnection(place.hostname or "", place.port, timeout=PATIENCE)
    # Clients that check what they send would not send these.
    connection._validate_path = lambda url: None  # type: ignore[attr-defined]
    connection._encode_request = lambda request: request.encode("latin-1", "replace")  # type: ignore[attr-defined]
    headers = {"Authorization": f"Bearer {server.key}", **attack.headers}
    try:
        connection.request(attack.method, attack.path, attack.body, headers)
        answer = connection.getresponse()
        return answer.status, answer.read()
    except (http.client.HTTPException, ConnectionError):
        return 0, b""
    finally:
        connection.close()


def run(server: Server, seed: int, count: int, faces: list[bytes]) -> dict[int, int]:
    """Fire attacks; every one must end well. Returns how often each status came."""
    seen: dict[int, int] = {}
    for number, attack in enumerate(attacks(seed, count, faces)):
        status, body = fire(server, attack)
        label = f"attack {number} of seed {seed}: {attack.method} {attack.path[:80]} {attack.headers} {body[:300]!r}"
        assert status < 500, label
        # A name that was sent may come back in a message; a path or a trace of ours may not.
        assert not (status >= 400 and LEAK.search(body) and not LEAK.search(attack.path.encode() + attack.body)), label
        assert server.process.poll() is None, label
        seen[status] = seen.get(status, 0) + 1
    with server.client() as client:
        assert client.get("/readyz").status_code == 200
    assert "Traceback" not in server.printed, server.printed[-3000:]
    return seen


@pytest.fixture
def faces(astronaut_jpeg: bytes, cat_png: bytes, admiral_jpeg: bytes) -> list[bytes]:
    return [astronaut_jpeg, cat_png, admiral_jpeg]


def test_a_hundred_attacks(models: tuple[Path, ...], tmp_path: Path, faces: list[bytes]) -> None:
    with serving(tmp_path / "data", models) as server:
        seen = run(server, seed=1, count=100, faces=faces)
    assert sum(count for status, count in seen.items() if 400 <= status < 500) > 60


@pytest.mark.slow
def test_two_thousand_attacks(models: tuple[Path, ...], tmp_path: Path, faces: list[bytes]) -> None:
    with serving(tmp_path / "data", models) as server:
        seen = run(server, seed=2, count=2000, faces=faces)
    print(f"statuses of 2000 hostile requests: {dict(sorted(seen.items()))}")
    assert sum(seen.values()) == 2000


def fire_raw(server: Server, data: bytes) -> None:
    """Write bytes and close the sending side; whatever is answered is no fault of the server's."""
    answer = exchange(server.address, data, half_close=True)
    for line in re.findall(rb"^HTTP/1\.1 (\d+)", answer, re.MULTILINE):
        assert int(line) < 500, (data[:300], answer[:300])
    assert not LEAK.search(answer) or LEAK.search(data), (data[:300], answer[:300])


@pytest.mark.slow
def test_ten_thousand_hostile_requests_stall_nobody_and_leave_nothing(
    models: tuple[Path, ...], tmp_path: Path, faces: list[bytes]
) -> None:
    """Generated from the document, formats, fields and raw bytes; /livez answers within a second all the while."""
    raw, formats = 4000, 5500
    with (
        serving(tmp_path / "data", models, head_seconds="2", body_seconds="2") as server,
        pulse(server.address) as live,
    ):

        def state() -> tuple[int, int, int]:
            await_that(lambda: connections(server) <= 2)  # the one that asks, and at most the pulse's
            return resident(server), descriptors(server), threads(server)

        run(server, seed=3, count=formats // 2, faces=faces)
        with ThreadPoolExecutor(4) as clients:
            list(clients.map(lambda data: fire_raw(server, data), raw_attacks(4, raw // 2)))
        generated = cases_of(probe(server, "examples,coverage,fuzzing", 15))
        before = state()
        run(server, seed=5, count=formats // 2, faces=faces)
        with ThreadPoolExecutor(4) as clients:
            list(clients.map(lambda data: fire_raw(server, data), raw_attacks(6, raw // 2)))
        after = state()
        assert "Traceback" not in server.printed, server.printed[-3000:]
    total = raw + formats + generated
    print(f"{total} hostile requests, {generated} of them generated")
    print(f"longest /livez {live.longest:.2f} s, where a pause came {live.late:.2f} s late")
    print(
        f"memory {before[0] >> 20} -> {after[0] >> 20} MiB, descriptors {before[1]} -> {after[1]}, threads {after[2]}"
    )
    assert total >= 10_000
    assert not live.failures
    assert not live.stalled(1)
    assert after[0] < before[0] * 1.05 + (8 << 20)
    assert after[1] <= before[1] + 4
    assert after[2] <= before[2] + 2
