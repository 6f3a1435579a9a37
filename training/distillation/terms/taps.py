"""Where a term listens: at the logits, the embedding, or the map after a stage.

A tap is written as `logits`, `embedding` or `stage_<i>`; a negative number counts from the last stage.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Annotated

from pydantic import StringConstraints
from torch import Tensor

from training.errors import TeacherMismatch

Tap = Annotated[str, StringConstraints(pattern=r"^(logits|embedding|stage_-?\d+)$")]


@dataclass(frozen=True, slots=True)
class View:
    """What one network made of a batch.

    `embedding` is (N, D); `stages` the maps (N, C, H, W) after each stage, empty where they are not open; `logits`
    gives (N, classes) from an embedding, None without class centres; `tail` runs the network's blocks after stage i.
    """

    embedding: Tensor
    stages: tuple[Tensor, ...] = ()
    logits: Callable[[Tensor], Tensor] | None = None
    tail: Callable[[Tensor, int], Tensor] | None = None

    def at(self, tap: str, who: str) -> Tensor:
        """The output at a tap.

        Raises:
            TeacherMismatch: This network does not have it.
        """
        if tap == "embedding":
            return self.embedding
        if tap == "logits":
            if self.logits is None:
                raise TeacherMismatch(f"{who} has no class centres, so there are no logits to compare")
            return self.logits(self.embedding)
        return self.stages[self.stage(tap, who)]

    def stage(self, tap: str, who: str) -> int:
        """The index, from 0, of the stage a tap names.

        Raises:
            TeacherMismatch: There is no such stage.
        """
        index = int(tap.removeprefix("stage_"))
        if not -len(self.stages) <= index < len(self.stages):
            raise TeacherMismatch(f"{who} has {len(self.stages)} open stages, so there is no {tap}")
        return index % len(self.stages)
