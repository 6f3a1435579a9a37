"""Two embedders of one space and one of another, and a service that runs with them."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from numpy.typing import NDArray
from onnx import numpy_helper
from starlette.testclient import TestClient

from service.app import create_app
from service.face.manifest import CalibratedThreshold
from service.face.model_import import ModelSpec, add_model
from service.face.registry import ModelFolder, Registry
from service.settings import read_settings
from tests.conftest import encode

TRIALS = 1_000_000
Start = Callable[..., TestClient]


def rows(*pairs: tuple[float, float]) -> tuple[CalibratedThreshold, ...]:
    """A threshold table from (fmr, score) pairs."""
    return tuple(
        CalibratedThreshold(fmr=fmr, threshold=score, impostor_trials=TRIALS, ci95=(fmr / 2, fmr * 2))
        for fmr, score in pairs
    )


TEACHER_ROWS = rows((1e-1, 0.2), (1e-2, 0.3), (1e-3, 0.4), (1e-4, 0.5))
STUDENT_ROWS = rows((1e-1, 0.25), (1e-2, 0.35), (1e-3, 0.45), (1e-4, 0.55))


def _disturb(source: Path, target: Path, noise: float) -> Path:
    """The same network with every weight matrix moved a little: another digest, and nearly the same embedding."""
    model = onnx.load(source)
    random = np.random.default_rng(7)
    for tensor in model.graph.initializer:
        values = numpy_helper.to_array(tensor)
        if values.dtype == np.float32 and values.ndim >= 2:
            moved = values * (1 + noise * random.standard_normal(values.shape).astype(np.float32))
            tensor.CopyFrom(numpy_helper.from_array(moved.astype(np.float32), tensor.name))
    onnx.save(model, target)
    return target


def _spec(folder: ModelFolder, name: str, space: str | None, table: tuple[CalibratedThreshold, ...]) -> ModelSpec:
    manifest = folder.manifest
    return ModelSpec(
        name=name,
        version="1.0.0",
        task="embedder",
        about="A model for tests.",
        url=None,
        sha256=None,
        space=space,
        input=manifest.input,
        output=manifest.output,
        licence=manifest.licence,
        provenance=manifest.provenance,
        parameters=None,
        multiply_adds=None,
        results=(),
        thresholds=table,
    )


@pytest.fixture(scope="session")
def zoo(model_dirs: tuple[Path, ...], tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A model directory with `teacher`, `student` of the teacher's space, and `stranger` of a space of its own."""
    found = Registry.scan(model_dirs).folders("embedder")[0]
    directory = tmp_path_factory.mktemp("zoo")
    teacher = _disturb(found.model_path, directory / "teacher.onnx", 0.0005)
    student = _disturb(found.model_path, directory / "student.onnx", 0.02)
    stranger = _disturb(found.model_path, directory / "stranger.onnx", 0.03)
    space = add_model(teacher, _spec(found, "teacher", None, TEACHER_ROWS), directory).manifest.sha256
    add_model(student, _spec(found, "student", space, STUDENT_ROWS), directory)
    add_model(stranger, _spec(found, "stranger", None, TEACHER_ROWS), directory)
    return directory


@pytest.fixture
def start(zoo: Path, model_dirs: tuple[Path, ...], tmp_path: Path) -> Iterator[Start]:
    """Starts the real service on one data folder with the named embedders, as often as a test likes."""
    with ExitStack() as running:

        def start(*models: str, first: tuple[Path, ...] = (), **settings: object) -> TestClient:
            running.close()  # the one before gives the data folder free
            given = {"anonymous": True, "workers": 1, "rate": "off", **settings}
            chosen = read_settings(
                data=tmp_path / "data",
                model_dirs=(*first, zoo, *model_dirs),
                models=models,
                **given,
            )
            return running.enter_context(TestClient(create_app(chosen)))

        yield start


@pytest.fixture(scope="session")
def portrait(astronaut: NDArray[np.uint8]) -> bytes:
    """The astronaut as JPEG."""
    return encode(astronaut)


@pytest.fixture(scope="session")
def other_portrait(admiral: NDArray[np.uint8]) -> bytes:
    """The admiral as JPEG."""
    return encode(admiral)


@pytest.fixture(scope="session")
def dim_portrait(astronaut: NDArray[np.uint8]) -> bytes:
    """The astronaut, mirrored and darker: another photograph of the same person."""
    return encode((astronaut[:, ::-1] * 0.8).astype(np.uint8))


def enrol(client: TestClient, subject: str, image: bytes, **fields: str) -> None:
    """Enrol one image, whatever its quality."""
    files = {"images": ("face.jpg", image, "image/jpeg")}
    answer = client.post("/v1/enroll", data={"subject": subject, "quality": "report", **fields}, files=files)
    assert answer.status_code == 201, answer.text


def identify(client: TestClient, image: bytes, **fields: str) -> dict[str, Any]:
    """The answer of an identification that must succeed."""
    answer = client.post("/v1/identify", data=fields, files={"image": ("face.jpg", image, "image/jpeg")})
    assert answer.status_code == 200, answer.text
    return dict(answer.json())
