"""A tiny world for the detector: public-domain photographs as files, and small graphs with YuNet's heads."""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np
import pytest
import torch
from numpy.typing import NDArray

from service.face.session import ModelSession
from training.tasks.detection.composites import Sources
from training.tasks.detection.export import export_detector
from training.tasks.detection.networks.student import DetectorStudent

FACE = slice(40, 190), slice(150, 300)  # the astronaut's head


@pytest.fixture(scope="session")
def photographs(
    tmp_path_factory: pytest.TempPathFactory,
    astronaut: NDArray[np.uint8],
    admiral: NDArray[np.uint8],
    cat: NDArray[np.uint8],
) -> Path:
    """`scenes/`, `empty/`, `crops/` and `portraits/<person>/`."""
    root = tmp_path_factory.mktemp("photographs")
    pictures = {
        "scenes/astronaut.png": cv2.resize(astronaut, (256, 256), interpolation=cv2.INTER_AREA),
        "scenes/admiral.png": cv2.resize(admiral, (216, 256), interpolation=cv2.INTER_AREA),
        "empty/cat.png": cv2.resize(cat, (225, 150), interpolation=cv2.INTER_AREA),
        "crops/astronaut.png": cv2.resize(astronaut[FACE], (128, 128), interpolation=cv2.INTER_AREA),
        "portraits/one/a.png": astronaut[:256, 100:356],
        "portraits/two/b.png": admiral[:256, 100:356],
    }
    for name, pixels in pictures.items():
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        cv2.imwrite(str(root / name), np.ascontiguousarray(pixels[..., ::-1]))
    return root


@pytest.fixture(scope="session")
def sources(photographs: Path) -> Sources:
    def files(folder: str) -> tuple[Path, ...]:
        return tuple(sorted((photographs / folder).iterdir()))

    return Sources(files("scenes"), files("empty"), files("crops"))


def small_student(seed: int = 0) -> DetectorStudent:
    torch.manual_seed(seed)
    return DetectorStudent(stem=(8, 8), width=16, blocks=(0, 1, 0, 0))


@pytest.fixture(scope="session")
def random_graph(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A detector with random weights whose answers vary from cell to cell: something real to learn from."""
    student = small_student(seed=1)
    with torch.no_grad():
        for head in student.heads:
            head.weight.normal_(std=0.5)
            head.bias.zero_()
    path = tmp_path_factory.mktemp("graphs") / "random.onnx"
    export_detector(student, path)
    return path


@pytest.fixture(scope="session")
def random_session(random_graph: Path) -> ModelSession:
    return ModelSession(random_graph)
