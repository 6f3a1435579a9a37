"""What a run leaves on disk: `<runs>/<name>/checkpoint.pt`, from which it resumes and from which it is exported."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

import torch
from pydantic import ValidationError
from torch import Tensor

from training.atomic_folder import whole_file
from training.errors import CheckpointInvalid
from training.recipe import Recipe

FILE = "checkpoint.pt"

R = TypeVar("R", bound=Recipe)


@dataclass(frozen=True, slots=True)
class Checkpoint:
    """The state after `step` of `total` steps.

    Attributes:
        recipe: The recipe's canonical JSON, as it is stored; `read_recipe` gives it its type.
        step: Steps done.
        total: Steps of the whole run.
        model: The task's state dict.
        average: Its moving average, where one is kept.
        optimiser: The optimiser's state dict.
        facts: What the task recorded: digests of data and teachers, class names.
    """

    recipe: str
    step: int
    total: int
    model: Mapping[str, Tensor]
    average: Mapping[str, Tensor] | None
    optimiser: Mapping[str, Any]
    facts: Mapping[str, Any]

    @property
    def best(self) -> Mapping[str, Tensor]:
        """The weights to use: the average where there is one."""
        return self.average if self.average is not None else self.model

    @property
    def ended(self) -> bool:
        """Whether no step is left."""
        return self.step >= self.total

    def read_recipe(self, kind: type[R]) -> R:
        """Read the recipe as one of this kind.

        Raises:
            CheckpointInvalid: It is another kind's.
        """
        try:
            return kind.model_validate_json(self.recipe)
        except ValidationError as error:
            where = ", ".join(".".join(map(str, fault["loc"])) or "recipe" for fault in error.errors())
            raise CheckpointInvalid(f"the run's recipe is no {kind.__name__} ({where})") from error


def save_checkpoint(folder: Path, checkpoint: Checkpoint) -> None:
    """Write the checkpoint, whole or not at all."""
    values = {name: getattr(checkpoint, name) for name in Checkpoint.__slots__}
    with whole_file(folder / FILE) as draft:
        torch.save(values, draft)


def load_checkpoint(folder: Path) -> Checkpoint:
    """Read a run's checkpoint onto the CPU.

    Raises:
        CheckpointInvalid: There is none or it is damaged.
    """
    path = folder / FILE
    if not path.is_file():
        raise CheckpointInvalid(f"{folder} holds no {FILE}: run `facet-train fit` first")
    try:
        return Checkpoint(**torch.load(path, map_location="cpu", weights_only=True))
    except Exception as error:  # torch raises many classes for a damaged file
        raise CheckpointInvalid(f"{path} cannot be read ({type(error).__name__}); delete it to start again") from error


def load_finished(folder: Path) -> Checkpoint:
    """Read the checkpoint of a run that is at its end, for whatever learns from it or begins with it.

    Raises:
        CheckpointInvalid: There is none, it is damaged, or the run has steps left: what learnt from it now would differ
            from what learns from it later, and nothing would say so.
    """
    checkpoint = load_checkpoint(folder)
    if not checkpoint.ended:
        raise CheckpointInvalid(
            f"{folder} stopped at step {checkpoint.step} of {checkpoint.total}: end it first, with `facet-train fit`"
        )
    return checkpoint
