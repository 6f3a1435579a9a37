"""What the training loop knows of a task: named losses, a source of batches, and what is exported."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, Generic, Protocol, Self, TypeVar

import numpy as np
from numpy.typing import NDArray
from torch import Tensor, nn

from training.recipe import Recipe, Roots

Batch = dict[str, NDArray[Any]]


class Source(Protocol):
    """Where batches come from. A batch is a pure function of indices and generator, which makes resuming exact."""

    def order(self, epoch: int, seed: int) -> NDArray[np.int64]:
        """The sample order of an epoch; the same length in every epoch."""

    def batch(self, indices: NDArray[np.int64], rng: np.random.Generator) -> Batch:
        """Arrays whose first axis is the batch. Called on worker threads."""


class Task(nn.Module, ABC):
    """Everything that is trained hangs on it as a submodule; frozen teachers go into `frozen`.

    `forward(batch)` returns named, weighted losses whose sum is minimised. `facts` are recorded with the checkpoint.
    """

    source: Source

    def __init__(self) -> None:
        super().__init__()
        self.frozen: tuple[nn.Module, ...] = ()
        self.facts: Mapping[str, Any] = {}

    @abstractmethod
    def forward(self, batch: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """Weighted losses by name, each a scalar."""

    def _apply(self, fn: Callable[[Tensor], Tensor], recurse: bool = True) -> Self:
        # frozen networks are no submodules, so that they are neither trained nor saved, yet they move along
        for module in self.frozen:
            module._apply(fn, recurse)  # type: ignore[no-untyped-call]
        super()._apply(fn, recurse)  # type: ignore[no-untyped-call]
        return self


@dataclass(frozen=True, slots=True)
class Exported:
    """A network ready for export: `module` in evaluation mode, one `example` input, and the names of its ends.

    `free` names the axes that stay free, {axis: name}, of every input and output.
    """

    module: nn.Module
    example: Tensor
    outputs: tuple[str, ...]
    free: Mapping[int, str] = field(default_factory=lambda: {0: "n"})


R = TypeVar("R", bound=Recipe)


@dataclass(frozen=True, slots=True)
class TaskKind(Generic[R]):
    """A kind of task: its recipe, how it is built for training, and how its network is rebuilt for export.

    `restore(recipe, state)` takes the task's state dict and needs no data.
    """

    recipe: type[R]
    build: Callable[[R, Roots], Task]
    restore: Callable[[R, Mapping[str, Tensor]], Exported]
