"""The alignment task: five landmarks from a crop, by a student that was first distilled for recognition.

Wang et al. (arXiv 1709.02929) carry a distilled classifier to alignment: `1/2 ||R_S - R*||^2` on the landmarks, plus
the usual terms on the hidden layer, starting from the distilled student. Here that is the embedding task with one
more layer, which is exported with the student.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Self

import torch
from pydantic import Field, model_validator
from torch import Tensor, nn

from training.backbones.backbone import Student
from training.backbones.network import build_student, example, load_student
from training.distillation.terms.distances import Landmarks
from training.engine.task import Exported, TaskKind
from training.recipe import Roots
from training.tasks.embedding import EmbeddingRecipe, EmbeddingTask

POINTS = 10


class LandmarkRecipe(EmbeddingRecipe):
    """An embedding recipe whose student also regresses landmarks; `points_weight` scales that loss. It has no head."""

    points_weight: float = Field(default=1.0, gt=0)

    @model_validator(mode="after")
    def _has_no_head(self) -> Self:
        if self.head.kind != "none":
            raise ValueError("landmarks are learnt without a classification loss: set head: {kind: none}")
        return self


class LandmarkTask(EmbeddingTask):
    """Student, and a linear layer from its embedding to (x, y) of five points in units of the crop about its centre."""

    def __init__(self, recipe: LandmarkRecipe, roots: Roots) -> None:
        """Raises: as the embedding task, and SetInvalid for sets without landmarks."""
        super().__init__(recipe, roots, points=True)
        self.points = nn.Linear(self.student.dim, POINTS)
        self._weight = recipe.points_weight

    def forward(self, batch: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """Weighted losses: `landmarks`, and one per term."""
        student, teachers, labels = self.look(batch), self.teach(batch), batch["label"]
        points = self.points(student.embedding).float()
        distance = Landmarks(kind="landmarks")
        with torch.autocast(labels.device.type, enabled=False):
            losses = {"landmarks": self._weight * distance.measure(points, batch["points"], labels)}
        return losses | self.compare(student, teachers, labels)


class _Points(nn.Module):
    """As exported: pixels (N, 3, S, S) -> landmarks (N, 10), x and y in 0..1 of the crop."""

    def __init__(self, student: Student) -> None:
        super().__init__()
        self.student = student
        self.points = nn.Linear(student.dim, POINTS)

    def forward(self, x: Tensor) -> Tensor:
        landmarks: Tensor = self.points(self.student(x)) + 0.5
        return landmarks


def restore(recipe: LandmarkRecipe, state: Mapping[str, Tensor]) -> Exported:
    """Student and landmark layer, without head or adapters.

    Raises:
        CheckpointInvalid: There is no checkpoint, or it does not fit.
        RecipeInvalid: The recipe is missing, misspelt or contradicts itself.
    """
    student = build_student(recipe.student, recipe.input)
    load_student(student, state)
    module = _Points(student)
    module.points.load_state_dict({"weight": state["points.weight"], "bias": state["points.bias"]})
    return Exported(module.eval(), example(recipe.input), ("landmarks",))


LANDMARKS = TaskKind(LandmarkRecipe, LandmarkTask, restore)
