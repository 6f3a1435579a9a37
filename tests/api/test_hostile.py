"""Whatever is sent, the answer is a problem of the caller's, soon, and tells nothing of the inside."""

from __future__ import annotations

import http.client
import re
import time
from pathlib import Path
from urllib.parse import urlsplit

import pytest

from tests.api.hostile import Attack, attacks
from tests.api.server import Server, serving

LEAK = re.compile(rb'Traceback|File "|\.py\b|/work/|/usr/|/home/|/tmp/|site-packages|sqlite3|SELECT |onnxruntime')
LONGEST_SECONDS = 20.0


def fire(server: Server, attack: Attack) -> tuple[int, bytes]:
    """Send an attack as it stands, on a connection of its own; returns status and body (0: the server hung up)."""
    place = urlsplit(server.address)
    connection = http.client.HTTPConnection(place.hostname or "", place.port, timeout=LONGEST_SECONDS)
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
        begun = time.monotonic()
        status, body = fire(server, attack)
        label = f"attack {number} of seed {seed}: {attack.method} {attack.path[:80]} {attack.headers} {body[:300]!r}"
        assert status < 500, label
        assert time.monotonic() - begun < LONGEST_SECONDS, label
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
