"""What every student network is: a chain of stages and a head.

A network written as a chain says all that distillation needs to know of it. The maps between the stages are what
intermediate terms compare, and the rest of the chain after stage ``i`` is the *tail* through which ShrinkTeaNet sends
an adapted student map (arXiv 1905.10620).
"""

from collections.abc import Sequence
from typing import NamedTuple

from torch import Tensor, nn


class Features(NamedTuple):
    """What one forward pass yields.

    ``embedding`` is float (N, D), not normalised; ``stages`` holds one float (N, C_i, H_i, W_i) map per stage.
    """

    embedding: Tensor
    stages: tuple[Tensor, ...]


class Student(nn.Module):
    """A chain of ``stages`` that ends in a ``head``: float (N, 3, H, W) -> float (N, D), not normalised.

    Pixels are what the model's input spec makes of them, in general about zero mean and unit range. ``input_size`` is
    (H, W), or one number for a square.
    """

    def __init__(
        self, stages: Sequence[nn.Module], head: nn.Module, *, input_size: int | tuple[int, int], dim: int
    ) -> None:
        super().__init__()
        self.stages = nn.ModuleList(stages)
        self.head = head
        self.height, self.width = (input_size, input_size) if isinstance(input_size, int) else input_size
        self.dim = dim

    def forward(self, x: Tensor) -> Tensor:
        """Pixels (N, 3, H, W) -> embedding (N, D)."""
        return self.tail(x, after=-1)

    def tail(self, x: Tensor, *, after: int) -> Tensor:
        """Send a map that stands for the output of stage ``after`` through the rest of the net -> (N, D)."""
        for stage in self.stages[after + 1 :]:
            x = stage(x)
        embedding: Tensor = self.head(x)
        return embedding

    def features(self, x: Tensor) -> Features:
        """The embedding together with the map after every stage."""
        maps: list[Tensor] = []
        for stage in self.stages:
            x = stage(x)
            maps.append(x)
        return Features(self.head(x), tuple(maps))
