"""What a student's output is compared with: a teacher's output, chosen neurons, several teachers, or its tail."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Literal, Self

import torch
from pydantic import Field, model_validator
from torch import Tensor

from training.distillation.terms.taps import Tap, View
from training.errors import RecipeInvalid
from training.recipe import Part


class Same(Part):
    """The teacher's output at the same tap (`identity` in a recipe), or at another one given by `tap`."""

    kind: Literal["identity"]
    teacher: str
    tap: Tap | None = None

    @property
    def teachers(self) -> tuple[str, ...]:
        """Names of the teachers it needs."""
        return (self.teacher,)

    def wanted(self, tap: str, views: Mapping[str, View]) -> Tensor:
        """The target (N, ...).

        Raises:
            TeacherMismatch: A teacher's output does not fit.
        """
        return views[self.teacher].at(self.tap or tap, f"teacher {self.teacher}")


class Concat(Part):
    """The embeddings of several teachers side by side, (N, D1 + D2 + ...); `select`: only chosen neurons of these.

    `select` names a JSON file {"neurons": [...]} as `facet-train neurons` writes it, below the folder of runs.
    """

    kind: Literal["concat", "select"]
    teachers: tuple[str, ...] = Field(min_length=1)
    select: Path | None = None

    @model_validator(mode="after")
    def _selects(self) -> Self:
        if (self.kind == "select") != (self.select is not None):
            raise ValueError("a `select` target needs a file of neurons, a `concat` target takes none")
        return self

    def wanted(self, tap: str, views: Mapping[str, View]) -> Tensor:
        """All neurons (N, D1 + D2 + ...); the term selects.

        Raises:
            TeacherMismatch: A teacher's output does not fit.
        """
        return torch.cat([views[name].at("embedding", f"teacher {name}") for name in self.teachers], dim=1)


def read_neurons(path: Path) -> Tensor:
    """Indices int64 (M,) of the selected neurons.

    Raises:
        RecipeInvalid: The recipe is missing, misspelt or contradicts itself.
    """
    try:
        indices = [int(i) for i in json.loads(path.read_text(encoding="utf-8"))["neurons"]]
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise RecipeInvalid(f"{path}: not a list of neurons ({error}); run `facet-train neurons`") from error
    if not indices or min(indices) < 0:
        raise RecipeInvalid(f"{path}: a list of neurons holds at least one index, none below 0")
    return torch.tensor(indices)


class Tail(Part):
    """ShrinkTeaNet: the student's adapted map runs through the teacher's own later blocks; embeddings are compared.

    `stage` is the teacher's stage in whose place the map stands (default: the tap's).
    """

    kind: Literal["tail"]
    teacher: str
    stage: Tap | None = None

    @property
    def teachers(self) -> tuple[str, ...]:
        """Names of the teachers it needs."""
        return (self.teacher,)

    def wanted(self, tap: str, views: Mapping[str, View]) -> Tensor:
        """The teacher's embedding (N, D)."""
        return views[self.teacher].embedding


class Nothing(Part):
    """No target: the distance works on labels (triplet)."""

    kind: Literal["none"]

    @property
    def teachers(self) -> tuple[str, ...]:
        """Names of the teachers it needs."""
        return ()

    def wanted(self, tap: str, views: Mapping[str, View]) -> Tensor:
        """An empty tensor."""
        return torch.empty(0)


Target = Annotated[Same | Concat | Tail | Nothing, Field(discriminator="kind")]
