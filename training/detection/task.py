"""The detector task: dense distillation of a YuNet-shaped teacher into a network of our own, from random weights."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
from pydantic import Field
from torch import Tensor

from service.face.registry import Registry
from training.detection.export import NAMES, SplitHeads
from training.detection.loss import DetectionWeights, distil_rows
from training.detection.student import DetectorStudent
from training.detection.teacher import DenseTeacher, open_detector
from training.detection.tiles import TileSource, open_tiles
from training.errors import CheckpointInvalid
from training.recipe import Part, Recipe, Roots
from training.task import Exported, Task, TaskKind


class DetectorSpec(Part):
    """The network: channels at strides 2 and 4, channels beyond, residual blocks at strides 4, 8, 16 and 32."""

    stem: tuple[int, int] = (16, 32)
    width: int = Field(default=64, gt=0)
    blocks: tuple[int, int, int, int] = (1, 3, 3, 3)


class DistanceSpec(Part):
    """Weights of the loss's four parts, and the teacher's score from which box and landmarks count."""

    obj: float = Field(default=1.0, ge=0)
    cls: float = Field(default=1.0, ge=0)
    box: float = Field(default=2.0, ge=0)
    kps: float = Field(default=1.0, ge=0)
    min_score: float = Field(default=0.2, gt=0, lt=1)


class DetectorRecipe(Recipe):
    """`tiles` is a prepared tile set, `teacher` a registered detector, `crop` the side of what is cut from a tile."""

    tiles: str
    teacher: str
    crop: int = 224
    student: DetectorSpec = DetectorSpec()
    distance: DistanceSpec = DistanceSpec()


class DetectorTask(Task):
    """Holds the student; the teacher answers while batches are made."""

    def __init__(self, recipe: DetectorRecipe, roots: Roots) -> None:
        """Raises: ModelError, TeacherError, DataError, RecipeInvalid."""
        super().__init__()
        teacher = open_detector(Registry.scan([roots.models]), recipe.teacher)
        tiles = open_tiles(roots.data / recipe.tiles)
        self.source = TileSource(tiles, DenseTeacher(teacher.session), recipe.crop)
        self.student = _build(recipe.student)
        self._weights = DetectionWeights(**recipe.distance.model_dump())
        self.facts = {"teachers": {recipe.teacher: teacher.digest}, "data": {tiles.name: tiles.digest}}

    def forward(self, batch: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """The four weighted parts of the dense distance."""
        return distil_rows(self.student(batch["x"]).float(), batch["rows"], self._weights)


def restore(recipe: DetectorRecipe, state: Mapping[str, Tensor]) -> Exported:
    """The student of a task's state with YuNet's twelve named heads. Raises: CheckpointInvalid."""
    student = _build(recipe.student)
    own = {name.removeprefix("student."): t for name, t in state.items() if name.startswith("student.")}
    try:
        student.load_state_dict(own)
    except RuntimeError as error:
        raise CheckpointInvalid(f"the checkpoint does not fit its recipe's student: {error}") from error
    return Exported(SplitHeads(student).eval(), torch.zeros(1, 3, 256, 320), NAMES)


def _build(spec: DetectorSpec) -> DetectorStudent:
    return DetectorStudent(spec.stem, spec.width, spec.blocks)


DETECTOR: TaskKind[Any] = TaskKind(DetectorRecipe, DetectorTask, restore)
