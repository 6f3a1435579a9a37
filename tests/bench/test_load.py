"""Requests are sent as planned, and the answers are counted for what they are."""

from __future__ import annotations

import threading
import time
from collections import Counter
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest
from fastapi import FastAPI, Request
from fastapi.testclient import TestClient
from hypothesis import given, settings
from hypothesis import strategies as st

from service.bench.errors import BenchError
from service.bench.load import Pace, Shot, form, send, take_out_fills, write_plan


def test_a_form_is_read_as_it_was_written() -> None:
    app = FastAPI()

    @app.post("/echo")
    async def echo(request: Request) -> dict[str, Any]:
        async with request.form() as parts:
            items = parts.multi_items()
            return {name: part if isinstance(part, str) else list(await part.read()) for name, part in items}

    blob = bytes(range(256)) + b"\r\n--\r\n"
    shot = form("/echo", {"threshold": "0.4"}, [("probe", blob)])
    with TestClient(app) as client:
        answer = client.post(shot.path, content=shot.body, headers={"Content-Type": shot.kind})
    assert answer.json() == {"threshold": "0.4", "probe": list(blob)}


def test_a_missing_generator_is_named(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(BenchError, match="apt install wrk"):
        send("http://127.0.0.1:9", tmp_path / "plan", 1, seconds=1)


class Recorder(BaseHTTPRequestHandler):
    """Answers with the status that the path asks for, and remembers who asked for what."""

    protocol_version = "HTTP/1.1"
    seen: Counter[tuple[str, str, str, bytes]]

    def do_GET(self) -> None:
        self._answer(b"")

    def do_POST(self) -> None:
        self._answer(self.rfile.read(int(self.headers["Content-Length"])))

    def _answer(self, body: bytes) -> None:
        self.seen[self.command, self.path, self.headers["Authorization"], body] += 1
        if self.path.endswith("/late") and sum(self.seen.values()) % 5 == 0:
            time.sleep(0.3)
        self.send_response(int(self.path[1:4]))
        self.send_header("Content-Length", "0")
        self.end_headers()

    def log_message(self, format: str, *args: Any) -> None:  # noqa: A002
        """Say nothing."""


@pytest.fixture
def recorder() -> Iterator[ThreadingHTTPServer]:
    """A server on loopback that records."""
    Recorder.seen = Counter()
    with ThreadingHTTPServer(("127.0.0.1", 0), Recorder) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        yield server
        server.shutdown()
        thread.join()


@pytest.mark.engines
@pytest.mark.needs("wrk")
def test_answers_are_counted_by_kind_until_the_count_is_reached(recorder: ThreadingHTTPServer, tmp_path: Path) -> None:
    body = b"\x00\xff" * 50_000
    shots = [Shot("GET", "/200"), Shot("POST", "/201", "image/jpeg", body), Shot("GET", "/404"), Shot("GET", "/500")]
    plan = write_plan(shots, "facet_key", tmp_path / "plan")
    load = send(f"http://127.0.0.1:{recorder.server_port}", plan, connections=1, count=40)
    assert (load.ok, load.refused, load.failed, load.lost) == (20, 10, 10, 0)
    assert load.rate == pytest.approx(20 / load.seconds)
    assert 0 < load.p50 <= load.p95 <= load.p99
    assert load.generator_seconds >= 0
    assert set(Recorder.seen) == {(shot.method, shot.path, "Bearer facet_key", shot.body) for shot in shots}


@pytest.mark.engines
@pytest.mark.needs("wrk")
def test_a_run_lasts_as_long_as_asked(recorder: ThreadingHTTPServer, tmp_path: Path) -> None:
    plan = write_plan([Shot("GET", "/200")], "facet_key", tmp_path / "plan")
    load = send(f"http://127.0.0.1:{recorder.server_port}", plan, connections=2, seconds=1)
    assert load.seconds > 0.9, "a busy machine may end it later, and nothing ends it sooner"
    assert load.ok > 0
    assert load.refused == load.failed == load.lost == 0


@pytest.mark.engines
@pytest.mark.needs("wrk")
def test_requests_come_at_a_pace_of_their_own_and_a_seed_gives_it_again(
    recorder: ThreadingHTTPServer, tmp_path: Path
) -> None:
    plan = write_plan([Shot("GET", "/200")], "facet_key", tmp_path / "plan")
    address = f"http://127.0.0.1:{recorder.server_port}"
    first, again, other = (send(address, plan, 4, count=60, pace=Pace(0.02, seed)) for seed in (1, 1, 3))
    for load in (first, again, other):
        assert load.ok >= 60
        assert len(load.latencies) == load.ok
        assert list(load.latencies) == sorted(load.latencies)
        assert load.latencies[load.ok // 2] == pytest.approx(load.p50, rel=0.1)
        assert sum(load.gaps[:60]) / 60 == pytest.approx(0.02, rel=0.4)  # three deviations of a mean of 60
    assert first.gaps[:60] == again.gaps[:60]
    assert first.gaps[:60] != other.gaps[:60]


@pytest.mark.engines
@pytest.mark.needs("wrk")
def test_a_pace_has_one_latency_an_answer_also_where_some_are_late(
    recorder: ThreadingHTTPServer, tmp_path: Path
) -> None:
    plan = write_plan([Shot("GET", "/200/late")], "facet_key", tmp_path / "plan")
    load = send(f"http://127.0.0.1:{recorder.server_port}", plan, 4, count=40, pace=Pace(0.02, 1))
    assert len(load.latencies) == load.ok >= 40
    assert load.latencies[-1] >= 0.3
    assert load.p50 <= load.p95 <= load.p99 <= load.latencies[-1]


@settings(deadline=None)
@given(st.dictionaries(st.integers(1, 500), st.integers(1, 5), min_size=1), st.integers(1, 90))
def test_what_the_generator_fills_in_is_taken_out(answers: dict[int, int], between: int) -> None:
    counts = Counter(answers)
    for latency in range(2 * between, max(answers) + 1):
        fill = latency - between
        while counts[latency] and fill > between:
            counts[fill] += counts[latency]
            fill -= between
    assert take_out_fills(counts, between) == answers


@pytest.mark.engines
@pytest.mark.needs("wrk")
def test_a_server_that_is_not_there_is_an_error(tmp_path: Path) -> None:
    plan = write_plan([Shot("GET", "/200")], "facet_key", tmp_path / "plan")
    with pytest.raises(BenchError, match="wrk failed"):
        send("http://127.0.0.1:9", plan, connections=1, seconds=1)
