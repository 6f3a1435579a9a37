"""The detector task: dense distillation of a YuNet-shaped teacher into a network of our own."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any, Literal, Self

import numpy as np
import torch
from pydantic import Field, model_validator
from torch import Tensor

from service.face.registry import Registry
from training.backbones.initialise import Random
from training.backbones.weights import KEPT
from training.engine.task import Exported, Task, TaskKind
from training.errors import CheckpointInvalid, SetMissing
from training.recipe import Part, Recipe, Roots
from training.tasks.detection.export import NAMES, Detects, SplitHeads
from training.tasks.detection.loss import DetectionWeights, distil_rows
from training.tasks.detection.networks.inherit import inherit, resume
from training.tasks.detection.networks.student import DetectorStudent
from training.tasks.detection.networks.tapered import TaperedStudent
from training.tasks.detection.teacher import DenseTeacher, open_detector
from training.tasks.detection.tiles import TileSet, TileSource, open_tiles

#: Tiles on which an inheriting student decides which of its teacher's channels it keeps.
INHERIT_TILES = 64


class SeparableSpec(Part):
    """`DetectorStudent`: channels at strides 2 and 4, channels beyond, residual blocks at strides 4, 8, 16 and 32."""

    kind: Literal["separable"]
    stem: tuple[int, int] = (16, 32)
    width: int = Field(default=64, gt=0)
    blocks: tuple[int, int, int, int] = (1, 3, 3, 3)


class TaperedSpec(Part):
    """`TaperedStudent`: channels within stride 4, residual units at strides 8, 16 and 32."""

    kind: Literal["tapered"]
    waist: int = Field(default=32, gt=0, le=64)
    extra: tuple[int, int, int] = (1, 2, 1)


class Inherited(Part):
    """Weights of the recipe's teacher, thinned where the student is thinner."""

    kind: Literal["teacher"]


class Continued(Part):
    """Weights of a registered or bundled detector that was exported from the same student."""

    kind: Literal["model"]
    model: str


class Kept(Part):
    """Weights of an earlier detector of the same student, `<weights>.onnx` below `training/weights`."""

    kind: Literal["weights"]
    weights: str = Field(pattern=r"^[a-z0-9-]+/[a-z0-9-]+$")


StudentSpec = Annotated[SeparableSpec | TaperedSpec, Field(discriminator="kind")]


class DistanceSpec(Part):
    """Weights of the loss's four parts, and the teacher's score from which box and landmarks count."""

    obj: float = Field(default=1.0, ge=0)
    cls: float = Field(default=1.0, ge=0)
    box: float = Field(default=2.0, ge=0)
    kps: float = Field(default=1.0, ge=0)
    min_score: float = Field(default=0.2, gt=0, lt=1)


class DetectorRecipe(Recipe):
    """`tiles` is a prepared tile set, `teacher` a registered detector, `crop` the side of what is cut from a tile.

    `degrade` is the share of cuts that the student sees in bad light, blurred or compressed, and its teacher as they
    are; `cover` the share in which the student sees the faces masked; `bare` what alarms weigh where there
    is nobody.
    """

    tiles: str
    teacher: str
    crop: int = 224
    degrade: float = Field(default=0.0, ge=0, le=1)
    cover: float = Field(default=0.0, ge=0, le=1)
    bare: float = Field(default=1.0, gt=0)
    student: StudentSpec = SeparableSpec(kind="separable")
    init: Annotated[Random | Inherited | Continued | Kept, Field(discriminator="kind")] = Random(kind="random")
    distance: DistanceSpec = DistanceSpec()

    @model_validator(mode="after")
    def _inherits_what_fits(self) -> Self:
        if self.init.kind != "random" and self.student.kind != "tapered":
            raise ValueError("only a tapered student has places for given weights: choose init random")
        return self


class DetectorTask(Task):
    """Holds the student; the teacher answers while batches are made."""

    def __init__(self, recipe: DetectorRecipe, roots: Roots) -> None:
        """Raises: ModelError, TeacherError, DataError, RecipeInvalid, InitialisationFailed."""
        super().__init__()
        teacher = open_detector(Registry.scan([roots.models]), recipe.teacher)
        tiles = open_tiles(roots.data / recipe.tiles)
        self.source = TileSource(
            tiles, DenseTeacher(teacher.session), recipe.crop, recipe.degrade, recipe.cover, recipe.bare
        )
        self.student = _build(recipe.student)
        if recipe.init.kind == "teacher" and isinstance(self.student, TaperedStudent):
            inherit(self.student, teacher.path, _pixels(tiles))
        if recipe.init.kind == "model" and isinstance(self.student, TaperedStudent):
            resume(self.student, open_detector(Registry.scan(roots.model_folders), recipe.init.model).path)
        if recipe.init.kind == "weights" and isinstance(self.student, TaperedStudent):
            resume(self.student, kept_graph(recipe.init.weights))
        self._weights = DetectionWeights(**recipe.distance.model_dump())
        self.facts = {"teachers": {recipe.teacher: teacher.digest}, "data": {tiles.name: tiles.digest}}

    def forward(self, batch: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """The four weighted parts of the dense distance."""
        return distil_rows(self.student(batch["x"]).float(), batch["rows"], self._weights, batch["stress"])


def restore(recipe: DetectorRecipe, state: Mapping[str, Tensor]) -> Exported:
    """The student of a task's state with YuNet's twelve named heads. Raises: CheckpointInvalid."""
    student = _build(recipe.student)
    own = {name.removeprefix("student."): t for name, t in state.items() if name.startswith("student.")}
    try:
        student.load_state_dict(own)
    except RuntimeError as error:
        raise CheckpointInvalid(f"the checkpoint does not fit its recipe's student: {error}") from error
    return Exported(SplitHeads(student).eval(), torch.zeros(1, 3, 256, 320), NAMES)


def kept_graph(name: str) -> Path:
    """The graph `<name>.onnx` below `training/weights`. Raises: SetMissing."""
    path = KEPT / f"{name}.onnx"
    if not path.is_file():
        raise SetMissing(f"{path} is not there: name a graph below {KEPT}")
    return path


def _build(spec: SeparableSpec | TaperedSpec) -> Detects:
    if spec.kind == "tapered":
        return TaperedStudent(spec.waist, spec.extra)
    return DetectorStudent(spec.stem, spec.width, spec.blocks)


def _pixels(tiles: TileSet) -> Tensor:
    chosen = np.ascontiguousarray(tiles.tiles[:INHERIT_TILES].transpose(0, 3, 1, 2), np.float32)
    return torch.from_numpy(chosen)


DETECTOR: TaskKind[Any] = TaskKind(DetectorRecipe, DetectorTask, restore)
