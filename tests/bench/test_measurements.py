"""The measurements measure what they say."""

from __future__ import annotations

import os
import socket
import threading
from collections import Counter
from collections.abc import Iterator
from contextlib import closing
from dataclasses import replace
from functools import partial
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from types import SimpleNamespace
from typing import ClassVar, Self, cast

import numpy as np
import pytest
from fastapi.testclient import TestClient
from typer.testing import CliRunner

from service.app import create_app
from service.bench import start
from service.bench.enrolment import deal, enrol_by_loop, make_people_up
from service.bench.errors import BenchError
from service.bench.floor import STAGES, Floor, measure_floor, served_models
from service.bench.hostile.hostile import answer_on
from service.bench.load import Load
from service.bench.memory import Footprint, Memory, Reading, measure_memory, mixed
from service.bench.photos import read_photos
from service.bench.server import make_key
from service.bench.shadow import Shadowing, Turn, drain
from service.bench.start import fill_gallery
from service.bench.throughput import Round, Throughput, verifications
from service.bulk.people import Person, read_people
from service.cli import app
from service.gallery.embedded import SEGMENTS, open_embedded
from service.index.embedded.tiered import Tiers
from service.settings import Settings, read_settings
from tests.bench.lethal import Lethal
from tests.conftest import encode
from tests.waiting import PATIENCE

LOAD = Load(ok=100, refused=0, failed=0, lost=0, seconds=10, p50=0.1, p95=0.2, p99=0.3, generator_seconds=0.5)


@pytest.fixture
def settings(model_dirs: tuple[Path, ...], tmp_path: Path) -> Settings:
    """Settings with real models and data of their own."""
    return read_settings(data=tmp_path / "data", model_dirs=model_dirs)


@pytest.mark.engines
@pytest.mark.needs("wrk")
def test_the_floor_compares_on_every_core(settings: Settings) -> None:
    floor = measure_floor(settings, read_photos(None), seconds=0.5)
    assert floor.processes == len(os.sched_getaffinity(0))
    assert floor.rate > 0
    assert all(floor.milliseconds[stage] > 0 for stage in STAGES)
    assert 0 < floor.cores <= floor.processes + 0.1
    busy = sum(floor.milliseconds.values()) / 1000 * 2 * floor.rate
    assert busy == pytest.approx(floor.cores, rel=0.2)  # nothing is left out of the stages


@pytest.mark.engines
@pytest.mark.needs("wrk")
def test_a_photograph_without_a_face_stops_the_floor(settings: Settings) -> None:
    grey = encode(np.full((64, 64, 3), 127, dtype=np.uint8))
    with pytest.raises(BenchError, match="shows no face"):
        measure_floor(settings, [grey, grey], seconds=0.1)


def test_a_process_of_the_floor_that_ends_early_ends_it_though_others_wait_for_it(
    settings: Settings, tmp_path: Path
) -> None:
    photos = cast(list[bytes], [Lethal(photo, tmp_path / "mark") for photo in read_photos(None)])
    with pytest.raises(BenchError, match="a process of the floor ended early"):
        measure_floor(settings, photos, seconds=0.1)


def test_readings_come_after_ever_more_requests(tmp_path: Path) -> None:
    for counts in ((500, 400), (500, 500), (0, 500)):
        with pytest.raises(BenchError, match="more requests than the one before"):
            measure_memory([], tmp_path, counts, 320, lambda _: None)


@pytest.mark.parametrize("count", [2, 3, 5])
def test_people_who_are_made_up_are_enough_for_all_turns(count: int, tmp_path: Path) -> None:
    blocks = deal(read_people(make_people_up(tmp_path, count, blocks=2)), count, blocks=2)
    assert [sum(len(person.photographs) for person in block) for block in blocks] == [count, count]
    names = [person.name for block in blocks for person in block]
    assert len(set(names)) == len(names)


class Desk(BaseHTTPRequestHandler):
    """Answers enrolments with the status of the moment, and keeps what it was sent."""

    status = 201
    bodies: ClassVar[list[bytes]] = []

    def do_POST(self) -> None:
        self.bodies.append(self.rfile.read(int(self.headers["Content-Length"])))
        self.send_response(self.status)
        self.send_header("Content-Length", "0")
        self.end_headers()

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002 - the library's name
        """Say nothing."""


@pytest.fixture
def desk(monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    """The address of a desk where nobody has been yet."""
    monkeypatch.setattr(Desk, "bodies", [])
    with ThreadingHTTPServer(("127.0.0.1", 0), Desk) as server:
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        yield f"http://127.0.0.1:{server.server_port}"
        server.shutdown()
        thread.join()


@pytest.mark.needs("curl")
def test_the_loop_sends_people_of_any_name_and_counts_no_failure(
    desk: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    photograph = tmp_path / 'Smith, John; "Jack"' / "1,2.jpg"
    photograph.parent.mkdir()
    photograph.write_bytes(b"pixels")
    people = [Person("@Smith, John", (photograph,))]
    assert enrol_by_loop(desk, "key", people) > 0
    assert b"\r\n\r\n@Smith, John\r\n" in Desk.bodies[0]
    assert b"\r\n\r\npixels\r\n" in Desk.bodies[0]
    monkeypatch.setattr(Desk, "status", 422)
    assert enrol_by_loop(desk, "key", people) > 0
    monkeypatch.setattr(Desk, "status", 503)
    with pytest.raises(BenchError, match="answered with 503"):
        enrol_by_loop(desk, "key", people)
    with pytest.raises(BenchError, match="curl failed"):
        enrol_by_loop(desk, "key", [Person("Nobody", (tmp_path / "missing.jpg",))])


def test_no_load_begins_beside_decisions_that_wait_for_the_challenger() -> None:
    left = iter([2.0, 1.0, 0.0])
    drain(lambda: next(left))
    with pytest.raises(BenchError, match="3 sampled decisions still wait"):
        drain(lambda: 3.0, seconds=0)


def test_an_attack_that_is_never_answered_is_told_so() -> None:
    with socket.create_server(("127.0.0.1", 0)) as server, socket.create_connection(server.getsockname()) as connection:
        connection.settimeout(0.01)
        assert answer_on(connection) == "none"
        taken, _ = server.accept()
        taken.close()
        connection.settimeout(PATIENCE)
        assert answer_on(connection) == "hung up"


def test_the_gallery_is_filled_with_as_many_templates_as_asked(settings: Settings) -> None:
    _, embedder = served_models(settings)
    fill_gallery(settings.storage.data, embedder.digest, embedder.dim, 25)
    with closing(open_embedded(settings.storage.data)) as gallery:
        assert gallery.counts.templates("default", embedder.digest) == 25
        assert sorted(subject.faces for subject in gallery.subjects("default").items) == [5, 10, 10]


def test_the_first_start_is_from_the_database_alone_and_the_next_with_index_files(
    settings: Settings, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    files: list[int] = []

    class Seen:
        startup_seconds = 1.0

        def __init__(self, data: Path) -> None:
            files.append(len([path for path in (data / SEGMENTS).rglob("*") if path.is_file()]))

        def __enter__(self) -> Self:
            return self

        def __exit__(self, *error: object) -> None:
            """Nothing was started."""

        def cpu_seconds(self) -> float:
            return 0.5

    embedder = SimpleNamespace(digest="ab" * 32, dim=32)
    monkeypatch.setattr(start, "served_models", lambda _: (None, embedder))
    monkeypatch.setattr(start, "open_embedded", partial(open_embedded, tiers=Tiers(exact=60, fresh=12, segment=200)))
    monkeypatch.setattr(start, "Server", Seen)
    assert start.measure_start(settings, tmp_path, 500, lambda _: None) == start.Start(500, 1.0, 1.0, 0.5, 0.5)
    assert files[0] == 0
    assert files[1] > 0


def test_every_kind_of_request_is_answered_as_meant(settings: Settings) -> None:
    key = make_key(settings.storage.data)
    answers: Counter[int] = Counter()
    with TestClient(create_app(settings)) as client:
        for shot in [*verifications(read_photos(None)), *mixed(read_photos(None))]:
            headers = {"Authorization": f"Bearer {key}", **({"Content-Type": shot.kind} if shot.kind else {})}
            answers[client.request(shot.method, shot.path, content=shot.body, headers=headers).status_code] += 1
    # no face; no photograph, a torn one and an empty form; no such address
    assert sum(answers[status] for status in (400, 404, 415, 422)) == 5
    assert answers[200] + answers[201] == answers.total() - 5
    assert answers[201] == 1


def test_ratio_is_the_median_round() -> None:
    rounds = []
    for served in (60, 100, 90):  # in ten seconds, against ten a second
        load = Load(served, 0, 0, 0, 10.0, 0.1, 0.1, 0.1, 0.1)
        rounds.append(Round(Floor(10.0, 2.0, {}, 2), load, 1.5, 0.1))
    assert Throughput(tuple(rounds), {}).ratio == pytest.approx(0.9)
    assert Throughput(tuple(rounds), {}).efficiency == pytest.approx(0.9 * 2.0 / 1.5)


def test_growth_is_a_share_of_the_earlier_reading() -> None:
    held = {10: Footprint(100, 40, 12), 50: Footprint(180, 60, 20), 100: Footprint(104, 39, 14)}
    found = Memory(Footprint(50, 20, 9), tuple(Reading(count, each, LOAD) for count, each in held.items()))
    assert found.growth == pytest.approx(0.04)
    assert found.further == 2, "fewer descriptors make up for no thread"


def test_the_cost_of_shadowing_is_that_of_all_turns_together() -> None:
    def load(*milliseconds: int) -> Load:
        return replace(LOAD, latencies=tuple(value / 1000 for value in milliseconds))

    calm = Turn(load(*range(10, 20)), load(*range(20, 40, 2)), 10, 0)
    found = Shadowing("one", "two", 0.1, (calm, calm)).ratio(0.5)
    assert (found.value, found.low, found.high) == pytest.approx((2.0, 2.0, 2.0))
    wild = Turn(load(10, 10), load(1000, 1000), 2, 0)
    mixed = Shadowing("one", "two", 0.1, (calm, calm, calm, wild)).ratio(0.5)
    assert mixed.low <= 2.0 <= mixed.value < 3.0 < mixed.high


@pytest.mark.engines
@pytest.mark.needs("wrk")
@pytest.mark.parametrize(
    ("command", "printed"),
    [
        (
            ("throughput", "--seconds", "1", "--rounds", "1"),
            ("served / floor, median of rounds: ", "connections", "32"),
        ),
        (
            ("memory", "--few", "40", "--many", "80", "--between", "60", "--side", "320"),
            ("after 40", "after 60", "after 80", "growth: "),
        ),
        (
            ("shadow", "--seconds", "5", "--turns", "2"),
            ("p50 on / off, all turns: ", "p99 on / off, all turns: "),
        ),
        (("start", "--templates", "2000"), ("start with 2000 templates: ", "slower of both: ")),
    ],
)
def test_the_command_prints_findings_beside_their_targets(
    command: tuple[str, ...], printed: tuple[str, ...], model_dirs: tuple[Path, ...], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("FACET_MODEL_DIRS", os.pathsep.join(map(str, model_dirs)))
    result = CliRunner().invoke(app, ["bench", *command])
    assert result.exit_code == 0, result.output
    assert all(words in result.output for words in (*printed, "target")), result.output


@pytest.mark.needs("curl")
def test_both_ways_of_enrolment_take_turns_and_enrol_everybody(
    model_dirs: tuple[Path, ...], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("FACET_MODEL_DIRS", os.pathsep.join(map(str, model_dirs)))
    result = CliRunner().invoke(app, ["bench", "enroll", "--photographs", "4", "--turns", "1"])
    assert result.exit_code == 0, result.output
    assert "8 of 8 photographs are enrolled" in result.output
    assert "facet enroll / loop, median of turns: " in result.output


@pytest.mark.parametrize("command", ["throughput", "memory", "hostile", "start", "shadow", "enroll", "compreface"])
def test_no_measurement_is_made_in_a_database_of_others(command: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("FACET_DATABASE", "postgresql://facet@127.0.0.1:1/facet")
    refused = CliRunner().invoke(app, ["bench", command])
    assert refused.exit_code == 1
    assert "would use what FACET_DATABASE names" in refused.stderr


def test_no_measurement_is_told_to_a_collector_of_others(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("FACET_TRACING_ENDPOINT", "http://127.0.0.1:1")
    refused = CliRunner().invoke(app, ["bench", "hostile"])
    assert refused.exit_code == 1
    assert "would use what FACET_TRACING_ENDPOINT names" in refused.stderr
