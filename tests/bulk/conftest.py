"""Folders of people, and the command `facet` beside a running service."""

from __future__ import annotations

import json
import uuid
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from facet_client import Facet
from numpy.typing import NDArray
from typer.testing import CliRunner, Result

from service.cli import app
from tests.api.server import Server
from tests.conftest import encode

Run = Callable[..., Result]


@pytest.fixture
def folder(
    tmp_path: Path, astronaut: NDArray[np.uint8], admiral: NDArray[np.uint8], monkeypatch: pytest.MonkeyPatch
) -> Path:
    """Ann with three photographs, Gwen with two, one of which shows two people; a file that is no photograph."""
    root = tmp_path / "people"
    both = np.hstack([astronaut, admiral[: astronaut.shape[0]]])
    pictures = {
        "ann/1.jpg": astronaut,
        "ann/2.jpg": (astronaut[10:, 6:] * 0.8).astype(np.uint8),
        "ann/more/3.jpg": astronaut[4:, 2:],
        "gwen/1.jpg": admiral,
        "gwen/2.jpg": both,
    }
    for name, pixels in pictures.items():
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(encode(pixels))
    (root / "gwen" / "notes.txt").write_text("not a photograph")
    monkeypatch.chdir(tmp_path)
    return root


@pytest.fixture(scope="module")
def client(shared_server: Server) -> Iterator[Facet]:
    with Facet(shared_server.address, shared_server.key, timeout=120) as client:
        yield client


@pytest.fixture
def collection(client: Facet) -> str:
    """An empty collection of a test's own."""
    return client.create_collection(uuid.uuid4().hex).name


@pytest.fixture
def facet(shared_server: Server, monkeypatch: pytest.MonkeyPatch) -> Run:
    """The command, which finds the service by the environment."""
    monkeypatch.setenv("FACET_SERVER", shared_server.address)
    monkeypatch.setenv("FACET_KEY", shared_server.key or "")
    monkeypatch.setenv("COLUMNS", "200")
    return run


def run(*words: str | Path) -> Result:
    return CliRunner().invoke(app, [str(word) for word in words])


def report_of(result: Result) -> dict[str, Any]:
    """The report of a command that was asked for JSON."""
    document: dict[str, Any] = json.loads(result.stdout)
    return document
