"""Where a network's first weights come from: random, an earlier checkpoint, or the teacher.

Tensors are copied by name and shape. Where only the spatial size of a kernel differs (a global depthwise convolution
at another input size), the kernel is resampled by area: each new cell takes what its part of the old kernel held, so
the sum, and with it the response to a constant, stays. To begin with the teacher is the knowledge transfer of Karlekar
et al. (2019); the comparison of the papers (docs/papers.md) measures what it is worth.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Literal

import torch
from pydantic import Field
from torch import Tensor, nn

from service.face.manifest import Name
from training.errors import InitialisationFailed
from training.recipe import Part


class Random(Part):
    """The layers' own initialisation, from the recipe's seed."""

    kind: Literal["random"]


class Regression(Part):
    """The last layer fitted to a teacher's targets, over so many crops, before the first step."""

    teacher: str
    crops: int = Field(default=4096, gt=0)


class FromRun(Part):
    """Weights of an earlier run's student, a name below the folder of runs.

    `settle`: gates that this student has no longer are replaced by their means over so many crops (null: left out).
    """

    kind: Literal["checkpoint"]
    run: str
    minimum: float = Field(default=0.9, gt=0, le=1)
    settle: int | None = Field(default=None, gt=0)
    regress: Regression | None = None


class FromTeacher(Part):
    """Weights of a teacher of this recipe (Karlekar's knowledge transfer); `settle` as for an earlier run."""

    kind: Literal["teacher"]
    teacher: str
    minimum: float = Field(default=0.9, gt=0, le=1)
    settle: int | None = Field(default=None, gt=0)
    regress: Regression | None = None


class FromModel(Part):
    """Weights of a published model that carries them, bundled or registered, by `name` or `name@version`."""

    kind: Literal["model"]
    model: str
    minimum: float = Field(default=0.9, gt=0, le=1)
    settle: int | None = Field(default=None, gt=0)
    regress: Regression | None = None


class FromWeights(Part):
    """Weights that `facet-train keep` left below `training/weights`, by their folder's name: an unfinished model's."""

    kind: Literal["weights"]
    weights: Name
    minimum: float = Field(default=0.9, gt=0, le=1)
    settle: int | None = Field(default=None, gt=0)
    regress: Regression | None = None


Initialisation = Annotated[Random | FromRun | FromTeacher | FromModel | FromWeights, Field(discriminator="kind")]


@dataclass(frozen=True, slots=True)
class Copied:
    """Names of the tensors that were copied as they are, resampled, and left at their random values."""

    exact: tuple[str, ...]
    resampled: tuple[str, ...]
    left: tuple[str, ...]

    def __str__(self) -> str:
        return f"{len(self.exact)} tensors copied, {len(self.resampled)} resampled, {len(self.left)} left random"


@torch.no_grad()
def copy_weights(target: nn.Module, source: Mapping[str, Tensor], minimum: float, where: str | Path) -> Copied:
    """Copy every tensor of `source` whose name and shape fit into `target`.

    `minimum` is the share of the target's tensors, parameters and buffers, that must find a match.

    Raises:
        InitialisationFailed: Too few tensors match, naming some that did not, when fewer match.
    """
    exact, resampled, left = [], [], []
    for name, tensor in target.state_dict().items():
        weight = source.get(name)
        if weight is None:
            left.append(name)
        elif weight.shape == tensor.shape:
            tensor.copy_(weight)
            exact.append(name)
        elif tensor.ndim == 4 and weight.ndim == 4 and weight.shape[:2] == tensor.shape[:2]:
            tensor.copy_(resample_kernel(weight, (tensor.shape[2], tensor.shape[3])))
            resampled.append(name)
        else:
            left.append(name)
    total = len(exact) + len(resampled) + len(left)
    if not total or (len(exact) + len(resampled)) / total < minimum:
        raise InitialisationFailed(
            f"{where}: only {len(exact) + len(resampled)} of {total} tensors fit by name and shape "
            f"({minimum:.0%} are asked for); for example {', '.join(left[:3])} found no match"
        )
    return Copied(tuple(exact), tuple(resampled), tuple(left))


def resample_kernel(kernel: Tensor, size: tuple[int, int]) -> Tensor:
    """Resample the last two axes of (..., H, W) to `size`, keeping the sum."""
    rows, columns = _shares(kernel.shape[-2], size[0]), _shares(kernel.shape[-1], size[1])
    return (rows @ kernel.double() @ columns.T).to(kernel.dtype)


def _shares(old: int, new: int) -> Tensor:
    """(new, old): the share of each old cell that lies within each new cell, both spanning the same length."""
    edges = torch.arange(new + 1, dtype=torch.float64) * old / new
    cells = torch.arange(old, dtype=torch.float64)
    low = torch.maximum(edges[:-1, None], cells)
    high = torch.minimum(edges[1:, None], cells + 1)
    return (high - low).clamp(min=0)
