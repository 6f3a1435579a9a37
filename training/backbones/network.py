"""The student a recipe asks for, built from the literal registry in `training.backbones`."""

from __future__ import annotations

import inspect
from collections.abc import Mapping
from typing import Any

import torch
from pydantic import BaseModel, ConfigDict
from torch import Tensor

from service.face.manifest import InputSpec
from training.backbones import STUDENTS
from training.backbones.backbone import Student
from training.engine.checkpoint import Checkpoint
from training.errors import CheckpointInvalid, RecipeInvalid
from training.recipe import Recipe


class StudentSpec(BaseModel):
    """`kind` names a network of the registry; every other key is one of that network's own options."""

    model_config = ConfigDict(frozen=True, extra="allow")

    kind: str

    @property
    def options(self) -> Mapping[str, Any]:
        """The network's own options."""
        return self.model_extra or {}


class StudentRecipe(Recipe):
    """What every recipe that trains a student network says of it; `input` is the student's, its size the resolution.

    A stored recipe can be read as one whatever else its task added.
    """

    model_config = ConfigDict(extra="ignore")

    input: InputSpec
    student: StudentSpec


def build_student(spec: StudentSpec, pixels: InputSpec) -> Student:
    """Build a network with fresh weights.

    Raises:
        RecipeInvalid: The recipe is missing, misspelt or contradicts itself, naming what there is to choose from.
    """
    builder = STUDENTS.get(spec.kind)
    if builder is None:
        raise RecipeInvalid(f"student: no network {spec.kind!r}; known: {', '.join(sorted(STUDENTS))}")
    try:
        inspect.signature(builder).bind(**spec.options)
    except TypeError as error:
        options = ", ".join(inspect.signature(builder).parameters)
        raise RecipeInvalid(f"student: {spec.kind}: {error}; its options are {options}") from error
    try:
        student = builder(**spec.options)
    except (TypeError, ValueError) as error:
        raise RecipeInvalid(f"student: {spec.kind}: {error}") from error
    if (pixels.width, pixels.height) != (student.width, student.height):
        raise RecipeInvalid(
            f"student: {spec.kind} takes {student.width}x{student.height} pixels, "
            f"the recipe's input gives {pixels.width}x{pixels.height}"
        )
    return student


def restore_student(checkpoint: Checkpoint) -> tuple[Student, InputSpec]:
    """Rebuild a run's student with its best weights, in evaluation mode, and its input spec.

    Raises:
        CheckpointInvalid: There is no checkpoint, or it does not fit.
        RecipeInvalid: The recipe is missing, misspelt or contradicts itself.
    """
    recipe = checkpoint.read_recipe(StudentRecipe)
    student = build_student(recipe.student, recipe.input)
    load_student(student, checkpoint.best)
    return student, recipe.input


def load_student(student: Student, state: Mapping[str, Tensor]) -> None:
    """Load the `student.` part of a task's state.

    Raises:
        CheckpointInvalid: There is no checkpoint, or it does not fit.
    """
    own = {name.removeprefix("student."): t for name, t in state.items() if name.startswith("student.")}
    try:
        student.load_state_dict(own)
    except RuntimeError as error:
        raise CheckpointInvalid(f"the checkpoint does not fit its recipe's student: {error}") from error
    student.eval()


def example(pixels: InputSpec) -> Tensor:
    """One input of the right shape, mid-grey."""
    assert pixels.width is not None
    assert pixels.height is not None
    return torch.zeros(1, 3, pixels.height, pixels.width)
