"""The dense teacher: a YuNet-shaped detector whose head maps on the very pixels the student sees are the targets."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from service.face.detection.detection import HEADS, STRIDES
from service.face.registry import Registry
from service.face.session import ModelSession
from training.errors import TeacherMismatch
from training.tasks.detection.networks.student import BOX, CLS, KPS, OBJ

COLUMNS = {"cls": CLS, "obj": OBJ, "bbox": BOX, "kps": KPS}


@dataclass(frozen=True, slots=True)
class DetectorGraph:
    """A registered detector: its graph, and the path and SHA-256 of the file."""

    session: ModelSession
    path: Path
    digest: str


def open_detector(registry: Registry, name: str) -> DetectorGraph:
    """Verify and load a detector that takes raw BGR pixels, as this package feeds them.

    Raises: ModelError when there is no such model or its file is damaged; TeacherMismatch for any other input.
    """
    folder = registry.find(name)
    folder.verify()
    pixels = folder.manifest.input
    raw = (pixels.colour, pixels.mean, pixels.scale) == ("BGR", (0, 0, 0), (1, 1, 1))
    if folder.manifest.task != "detector" or not raw:
        raise TeacherMismatch(f"{folder.manifest.identity}: not a detector of raw BGR pixels; choose another")
    return DetectorGraph(ModelSession(folder.model_path), folder.model_path, folder.manifest.sha256)


class DenseTeacher:
    """Runs a detector graph and lays its twelve outputs out as the student's rows."""

    def __init__(self, session: ModelSession) -> None:
        """Raises: TeacherMismatch when the graph lacks a head."""
        missing = [f"{head}_{s}" for s in STRIDES for head in HEADS if f"{head}_{s}" not in session.outputs]
        if missing:
            raise TeacherMismatch(
                f"the detector teacher has no output {missing[0]}: "
                "give a graph with cls, obj, bbox and kps at strides 8, 16 and 32"
            )
        self._session = session

    def rows(self, tiles: NDArray[np.uint8]) -> NDArray[np.float32]:
        """Targets for BGR uint8 tiles (N, H, W, 3), sides multiples of 32.

        Returns float32 (N, P, 16): cls and obj as probabilities, box and landmarks in strides, strides in turn.
        """
        outputs = self._session.run(np.ascontiguousarray(tiles.transpose(0, 3, 1, 2), np.float32))
        return np.concatenate(
            [np.concatenate([outputs[f"{head}_{s}"] for head in HEADS], axis=2) for s in STRIDES], axis=1
        ).astype(np.float32, copy=False)


def split_rows(rows: NDArray[np.float32], side: int) -> dict[str, NDArray[np.float32]]:
    """The rows (P, 16) of one square input of `side` pixels as the twelve outputs they were laid out from."""
    outputs: dict[str, NDArray[np.float32]] = {}
    start = 0
    for stride in STRIDES:
        part = rows[None, start : start + (side // stride) ** 2]
        start += part.shape[1]
        outputs |= {f"{head}_{stride}": part[..., columns] for head, columns in COLUMNS.items()}
    return outputs
