"""What the training loop knows of a task: named losses, a source of batches, and what is exported."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, Generic, TypeVar

import torch
from lightning.fabric import Fabric
from torch import Tensor, nn

from training.data.batch import Source
from training.recipe import Recipe, Roots, Schedule


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


def place(task: Task, fabric: Fabric, schedule: Schedule) -> None:
    """Lay a task's weights out in memory as its schedule says, and bring its frozen networks to the device.

    They are no submodules, so that they are neither trained nor saved, and `Fabric.setup` does not move them.
    """
    layout = torch.channels_last if schedule.channels_last else torch.contiguous_format
    task.to(memory_format=layout)  # type: ignore[call-overload]
    for network in task.frozen:
        network.to(device=fabric.device, memory_format=layout)  # type: ignore[call-overload]


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
