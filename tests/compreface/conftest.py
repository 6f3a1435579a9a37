"""A whole service in this process, asked as CompreFace's clients ask."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx2 as httpx
import numpy as np
import pytest
from fastapi import FastAPI
from fastapi.testclient import TestClient
from numpy.typing import NDArray

from service.api.services import Services
from service.app import create_app
from service.keys import Scope
from tests.api.conftest import calibrated, settings_for
from tests.conftest import encode

EVERYTHING: list[Scope] = [scope for scope in Scope if scope is not Scope.ADMIN]


@dataclass(frozen=True)
class Door:
    """The address of a CompreFace service: a client, and the key of one collection."""

    client: httpx.Client
    key: str

    def ask(self, method: str, path: str, **given: Any) -> httpx.Response:
        """Send a request under /api/v1 with the key."""
        return self.client.request(method, f"/api/v1{path}", headers={"x-api-key": self.key}, **given)

    def send(self, path: str, image: bytes, **params: object) -> Any:
        """POST one picture as a form; gives the answer's JSON."""
        return self.ask("POST", path, files={"file": ("image.jpg", image)}, params=params).json()

    def add(self, subject: str, image: bytes) -> str:
        """Add a face; gives its id."""
        answer = self.ask("POST", "/recognition/faces", params={"subject": subject}, files={"file": image})
        assert answer.status_code == 201, answer.text
        return str(answer.json()["image_id"])


@dataclass(frozen=True)
class House:
    """A started service, and its doors."""

    app: FastAPI
    client: TestClient

    @property
    def services(self) -> Services:
        services: Services = self.app.state.services
        return services

    def key(self, scopes: list[Scope] = EVERYTHING, collections: list[str] | None = None) -> str:
        """The text of a new key."""
        return self.services.keys.create("client", scopes, collections)[1]

    def door(self, collection: str, keep_crops: bool = False) -> Door:
        """A new collection, and a key that is limited to it."""
        self.services.gallery.create_collection(collection, keep_crops=keep_crops)
        return Door(self.client, self.key(collections=[collection]))


@pytest.fixture(scope="module")
def house(model_dirs: tuple[Path, ...], tmp_path_factory: pytest.TempPathFactory) -> Iterator[House]:
    """One service for the tests of a file; each test uses collections of its own."""
    folder = tmp_path_factory.mktemp("compreface")
    app = create_app(settings_for(folder / "data", calibrated(model_dirs, folder / "models"), workers=1), print)
    with TestClient(app, raise_server_exceptions=False) as client:
        yield House(app, client)


@pytest.fixture(scope="session")
def astronaut_jpeg(astronaut: NDArray[np.uint8]) -> bytes:
    return encode(astronaut)


@pytest.fixture(scope="session")
def smaller_astronaut_jpeg(astronaut: NDArray[np.uint8]) -> bytes:
    """Another picture of the same person: mirrored, and in fewer pixels."""
    return encode(np.ascontiguousarray(astronaut[::2, ::-2]))


@pytest.fixture(scope="session")
def admiral_jpeg(admiral: NDArray[np.uint8]) -> bytes:
    return encode(admiral)


@pytest.fixture(scope="session")
def cat_png(cat: NDArray[np.uint8]) -> bytes:
    return encode(cat, "PNG")


@pytest.fixture(scope="session")
def both_jpeg(astronaut: NDArray[np.uint8], admiral: NDArray[np.uint8]) -> bytes:
    """The astronaut and the admiral side by side: two faces."""
    return encode(np.hstack([astronaut, admiral[: astronaut.shape[0]]]))
