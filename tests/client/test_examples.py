"""The examples, run as a reader runs them, against a real service: a film stands for the camera."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import cv2
import numpy as np
import pytest
from facet_client import Facet
from numpy.typing import NDArray

from tests.api.server import Server
from tests.client.flaky import Fault, Flaky
from tests.conftest import ROOT
from tests.waiting import await_that

EXAMPLES = ROOT / "deploy" / "client" / "examples"
SIDE = 512


@pytest.fixture
def surroundings(shared_server: Server) -> dict[str, str]:
    return {**os.environ, "FACET_KEY": shared_server.key or "", "PYTHONPATH": str(ROOT / "deploy" / "client" / "src")}


def film(path: Path, pictures: list[NDArray[np.uint8]]) -> None:
    """Write RGB pictures as a film, each cut to the size of its frames."""
    writer = cv2.VideoWriter(str(path), cv2.VideoWriter_fourcc(*"MJPG"), 5, (SIDE, SIDE))
    for picture in pictures:
        frame = np.full((SIDE, SIDE, 3), 128, np.uint8)
        part = picture[:SIDE, :SIDE]
        frame[: part.shape[0], : part.shape[1]] = part
        writer.write(frame[..., ::-1])
    writer.release()


def test_a_camera_tells_who_stands_before_it(
    facet: Facet,
    people: str,
    ann: bytes,
    astronaut: NDArray[np.uint8],
    admiral: NDArray[np.uint8],
    shared_server: Server,
    surroundings: dict[str, str],
    tmp_path: Path,
) -> None:
    facet.enroll("Ann", ann, collection=people)
    empty = np.full((SIDE, SIDE, 3), 90, np.uint8)
    film(tmp_path / "film.avi", [empty, astronaut, astronaut[4:, 2:], admiral, empty])
    words = ["--address", shared_server.address, "--collection", people, "--camera", str(tmp_path / "film.avi")]
    run = subprocess.run(
        [sys.executable, str(EXAMPLES / "webcam.py"), *words, "--every", "0"],
        env=surroundings,
        capture_output=True,
        text=True,
        check=False,
    )
    assert run.returncode == 0, run.stderr
    assert run.stdout.splitlines() == ["nobody", "Ann", "somebody unknown", "nobody"]


@pytest.mark.parametrize("fault", ["failed", "garbled"])
def test_a_camera_goes_on_when_the_service_fails_and_ends_under_a_wrong_key(
    fault: Fault,
    people: str,
    astronaut: NDArray[np.uint8],
    unsteady: Flaky,
    surroundings: dict[str, str],
    tmp_path: Path,
) -> None:
    film(tmp_path / "film.avi", [astronaut, astronaut])
    words = ["--address", unsteady.address, "--collection", people, "--camera", str(tmp_path / "film.avi")]
    command = [sys.executable, str(EXAMPLES / "webcam.py"), *words, "--every", "0"]
    unsteady.faults = [fault]
    run = subprocess.run(command, env=surroundings, capture_output=True, text=True, check=False)
    assert (run.returncode, run.stdout.splitlines()) == (0, ["no answer", "somebody unknown"]), run.stderr
    wrong = {**surroundings, "FACET_KEY": "facet_0123456789_" + "0" * 48}
    run = subprocess.run(command, env=wrong, capture_output=True, text=True, check=False)
    assert (run.returncode, run.stdout) == (1, "")
    assert "key_invalid" in run.stderr
    assert "Traceback" not in run.stderr


def test_a_camera_that_is_not_there_is_named(surroundings: dict[str, str]) -> None:
    words = [sys.executable, str(EXAMPLES / "webcam.py"), "--camera", "nowhere.avi"]
    run = subprocess.run(words, env=surroundings, capture_output=True, text=True, check=False)
    assert run.returncode == 1
    assert "the camera nowhere.avi cannot be opened" in run.stderr


def watch(
    folder: Path, done: Path, address: str, collection: str, surroundings: dict[str, str]
) -> subprocess.Popen[str]:
    """The example that watches a folder, with its answers on stdout."""
    words = [str(folder), "--address", address, "--collection", collection, "--done", str(done), "--every", "0.05"]
    command = [sys.executable, str(EXAMPLES / "watch_folder.py"), *words]
    return subprocess.Popen(command, env=surroundings, stdout=subprocess.PIPE, text=True)


def test_a_folder_is_watched(
    facet: Facet,
    people: str,
    ann: bytes,
    both: bytes,
    shared_server: Server,
    surroundings: dict[str, str],
    tmp_path: Path,
) -> None:
    facet.enroll("Ann", ann, collection=people)
    folder, done = tmp_path / "arrivals", tmp_path / "arrivals" / "done"
    folder.mkdir()
    (folder / "1.jpg").write_bytes(ann)
    with watch(folder, done, shared_server.address, people, surroundings) as watcher:
        assert watcher.stdout is not None
        told = [json.loads(watcher.stdout.readline())]
        (folder / "2.jpg").write_bytes(both)
        told.append(json.loads(watcher.stdout.readline()))
        (folder / "3.png").write_bytes(b"no image")
        told.append(json.loads(watcher.stdout.readline()))
        watcher.terminate()
    assert watcher.returncode == 0
    assert told[0] == {"file": "1.jpg", "faces": [{"decision": "match", "subject": "Ann"}]}
    assert sorted((face["decision"], face["subject"]) for face in told[1]["faces"]) == [
        ("match", "Ann"),
        ("no_match", None),
    ]
    assert told[2] == {"file": "3.png", "problem": "image_unsupported"}
    assert {path.name for path in done.iterdir()} >= {"1.jpg", "2.jpg"}


def test_a_photograph_stays_until_it_is_answered_and_none_takes_the_place_of_another(
    people: str, ann: bytes, unsteady: Flaky, surroundings: dict[str, str], tmp_path: Path
) -> None:
    folder, done = tmp_path / "arrivals", tmp_path / "done"
    folder.mkdir()
    (folder / "0.jpg").mkdir()
    (folder / "1.jpg").write_bytes(ann)
    unsteady.faults = ["failed", "failed"]
    with watch(folder, done, unsteady.address, people, surroundings) as watcher:
        try:
            assert watcher.stdout is not None
            problem = {"file": "1.jpg", "problem": "internal_error"}
            answer = {"file": "1.jpg", "faces": [{"decision": "no_match", "subject": None}]}
            assert [json.loads(watcher.stdout.readline()) for _ in range(3)] == [problem, problem, answer]
            await_that(lambda: not (folder / "1.jpg").exists())
            (folder / "1.jpg").write_bytes(ann)
            assert json.loads(watcher.stdout.readline()) == answer
            await_that(lambda: not (folder / "1.jpg").exists())
        finally:
            watcher.terminate()
    assert {path.name: path.read_bytes() for path in done.iterdir()} == {"1.jpg": ann, "1-2.jpg": ann}


def test_a_watch_with_a_wrong_key_ends_and_moves_nothing(
    ann: bytes, shared_server: Server, surroundings: dict[str, str], tmp_path: Path
) -> None:
    folder, done = tmp_path / "arrivals", tmp_path / "done"
    folder.mkdir()
    (folder / "1.jpg").write_bytes(ann)
    words = [str(folder), "--address", shared_server.address, "--done", str(done), "--every", "0.05"]
    run = subprocess.run(
        [sys.executable, str(EXAMPLES / "watch_folder.py"), *words],
        env={**surroundings, "FACET_KEY": "facet_0123456789_" + "0" * 48},
        capture_output=True,
        text=True,
        check=False,
    )
    assert (run.returncode, run.stdout) == (1, "")
    assert "key_invalid" in run.stderr
    assert "Traceback" not in run.stderr
    assert [path.name for path in folder.iterdir()] == ["1.jpg"]
    assert not list(done.iterdir())
