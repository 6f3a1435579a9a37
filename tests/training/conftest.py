"""Two public-domain faces as canonical crops, varied by geometry and light into small prepared sets."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from numpy.typing import NDArray

from service.face.align import align
from training.data.augment import Augment, augment, move_points
from training.data.crops import CropSet, Entry, open_set, writing_set
from training.recipe import Roots, validate
from training.tasks.embedding import EmbeddingRecipe

ASTRONAUT = np.array([[203.4, 103.6], [247.5, 104.4], [224.1, 127.7], [204.0, 143.1], [242.9, 143.7]], np.float32)
ADMIRAL = np.array([[224.3, 197.3], [306.8, 195.6], [265.4, 238.9], [229.8, 274.0], [304.4, 272.3]], np.float32)
VARIED = Augment(shift=5, scale=0.08, rotate=8, light=0.25, blur=0.3, jpeg=0.3)

MakeSet = Callable[..., CropSet]
MakeRecipe = Callable[..., EmbeddingRecipe]


@pytest.fixture(scope="session", autouse=True)
def _one_thread() -> None:
    """Sums come in one order, whatever was imported before and however many cores there are."""
    torch.set_num_threads(1)


@pytest.fixture(scope="session")
def faces(astronaut: NDArray[np.uint8], admiral: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """Canonical crops (6, 128, 128, 3): two people, and the same with channels exchanged as four more."""
    two = np.stack([align(astronaut, ASTRONAUT), align(admiral, ADMIRAL)])
    return np.concatenate([two, two[..., ::-1], two[..., [1, 2, 0]]])


@pytest.fixture(scope="session")
def make_set(faces: NDArray[np.uint8]) -> MakeSet:
    """Write a prepared set: `each` varied crops of every person; every fourth is unknown if `some_unknown`."""

    def make(folder: Path, *, each: int = 8, people: int = 6, seed: int = 0, some_unknown: bool = False) -> CropSet:
        rng = np.random.default_rng(seed)
        rows = np.repeat(np.arange(people), each)
        crops, warps = augment(faces[rows], VARIED, rng)
        points = move_points(
            np.tile(np.float32([[47, 60], [81, 60], [64, 80], [50, 100], [79, 100]]), (len(rows), 1, 1)), warps
        )
        with writing_set(folder, ("Smiling", "Eyeglasses")) as writer:
            for i, row in enumerate(rows):
                identity = "" if some_unknown and i % 4 == 3 else f"person-{row}"
                entry = Entry(f"{i:04d}.png", identity, "train", points[i], (int(row % 2), int(row > 2)))
                writer.add(crops[i], entry)
        return open_set(folder)

    return make


@pytest.fixture
def roots(tmp_path: Path, make_set: MakeSet) -> Roots:
    """Folders with one prepared set `six` of 48 crops of six people."""
    make_set(tmp_path / "data" / "six")
    (tmp_path / "models").mkdir()
    return Roots(tmp_path / "data", tmp_path / "models", tmp_path / "runs")


INPUT = {
    "width": 32,
    "height": 32,
    "colour": "RGB",
    "mean": [127.5] * 3,
    "scale": [1 / 127.5] * 3,
    "layout": "NCHW",
    "template": "arcface-112",
    "region": [0, 0, 112, 112],
    "resample": "area",
}
STUDENT = {"kind": "iresnet", "input_size": 32, "depths": [1, 1, 1, 1], "width": 0.125, "dim": 16, "dropout": 0.2}


@pytest.fixture(scope="session")
def make_recipe() -> MakeRecipe:
    """A recipe that trains a very small network with an ArcFace head on the set `six`; keys are replaced by name."""

    def make(**changes: Any) -> EmbeddingRecipe:
        values: dict[str, Any] = {
            "name": "tiny",
            "task": "embedding",
            "data": {"sets": {"six": 1.0}},
            "input": INPUT,
            "student": STUDENT,
            "head": {"kind": "learned", "arc": 0.2, "scale": 16},
            "augment": {"flip": 0.5, "shift": 3, "light": 0.1, "occlusion": 0.2},
            "schedule": {"peak": 2e-3, "batch": 12, "steps": 6, "ema": 0.9, "checkpoint_every": 3},
        }
        return validate(EmbeddingRecipe, values | changes, "test")

    return make
