"""A whole service in this process: real models, a real gallery, real keys."""

from __future__ import annotations

import base64
import json
import shutil
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from fastapi import FastAPI
from fastapi.testclient import TestClient
from numpy.typing import NDArray

from service.api.services import Services
from service.app import create_app
from service.keys import Scope
from service.settings import Settings, read_settings
from tests.conftest import encode

TRIALS = 10_000_000
TABLE = [(1e-2, 0.30), (1e-3, 0.40), (1e-4, 0.50)]


@dataclass(frozen=True)
class Running:
    """A started service and a client that carries its admin key."""

    app: FastAPI
    client: TestClient
    key: str

    @property
    def services(self) -> Services:
        services: Services = self.app.state.services
        return services

    def key_for(self, *scopes: Scope, collections: list[str] | None = None) -> dict[str, str]:
        """Headers with a new key of these rights."""
        return {"Authorization": f"Bearer {self.services.keys.create('test', scopes, collections)[1]}"}

    def post(self, path: str, files: Any = None, headers: dict[str, str] | None = None, **fields: str) -> Any:
        """POST a form under /v1."""
        return self.client.post(f"/v1{path}", data=fields, files=files, headers=headers)

    def collection(self, name: str) -> str:
        """Make a collection."""
        assert self.client.post("/v1/collections", json={"name": name}).status_code == 201
        return name


def calibrated(directories: tuple[Path, ...], target: Path) -> tuple[Path, ...]:
    """Copies of model folders, in which every embedder has calibrated thresholds."""
    for directory in directories:
        shutil.copytree(directory, target, dirs_exist_ok=True)
    for path in target.glob("*/manifest.json"):
        manifest = json.loads(path.read_text())
        if manifest["task"] == "embedder" and not manifest["thresholds"]:
            manifest["thresholds"] = [
                {"fmr": fmr, "threshold": score, "impostor_trials": TRIALS, "ci95": [fmr * 0.9, fmr * 1.1]}
                for fmr, score in TABLE
            ]
            path.write_text(json.dumps(manifest))
    return (target,)


def settings_for(data: Path, model_dirs: tuple[Path, ...], **given: Any) -> Settings:
    """Settings that owe nothing to the environment's own files."""
    return read_settings(env_file=None, data=data, model_dirs=model_dirs, **{"rate": "off", **given})


@pytest.fixture(scope="session")
def models(model_dirs: tuple[Path, ...], tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, ...]:
    """Model folders with thresholds."""
    return calibrated(model_dirs, tmp_path_factory.mktemp("calibrated") / "models")


@pytest.fixture(scope="session")
def running(models: tuple[Path, ...], tmp_path_factory: pytest.TempPathFactory) -> Iterator[Running]:
    """One service for all tests; each test uses collections of its own, which all have series in the metrics."""
    keys: list[str] = []
    app = create_app(settings_for(tmp_path_factory.mktemp("data"), models, metric_collections=10_000), keys.append)
    with TestClient(app, raise_server_exceptions=False) as client:
        client.headers["Authorization"] = f"Bearer {keys[0]}"
        yield Running(app, client, keys[0])


@pytest.fixture(scope="session")
def astronaut_jpeg(astronaut: NDArray[np.uint8]) -> bytes:
    return encode(astronaut)


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


def b64(data: bytes) -> str:
    return base64.b64encode(data).decode()
