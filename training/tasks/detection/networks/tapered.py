"""The detector student that begins where its teacher stands: YuNet's layout, thinner at stride 4 and deeper beyond.

YuNet (Wu, Peng, Yu, Machine Intelligence Research 2023) is a chain of units, 1x1 convolution then depthwise 3x3. It
spends two fifths of its time at stride 4, in 64 channels. Here two of those units have `waist` channels, and residual
units are added from stride 8 on, where they cost little. A new unit answers zero at first, so that a student that
inherits its teacher's weights (`training.tasks.detection.networks.inherit`) starts as good as its thinned part is.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from training.tasks.detection.networks.student import PIXEL_SCALE, ROW, STRIDES

WIDTH = 64
STEM = 16


class Unit(nn.Module):
    """1x1 convolution, depthwise 3x3, and a rectifier unless `linear`. Biases stand in for folded batch norms."""

    def __init__(self, inputs: int, outputs: int, linear: bool = False) -> None:
        super().__init__()
        self.pointwise = nn.Conv2d(inputs, outputs, 1)
        self.depthwise = nn.Conv2d(outputs, outputs, 3, padding=1, groups=outputs)
        self.linear = linear

    def forward(self, x: Tensor) -> Tensor:
        """Map (N, C, H, W) to the unit's output."""
        y: Tensor = self.depthwise(self.pointwise(x))
        return y if self.linear else F.relu(y)


class Extra(nn.Module):
    """A residual unit that changes nothing at first."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.unit = Unit(width, width, linear=True)
        nn.init.zeros_(self.unit.depthwise.weight)
        nn.init.zeros_(self.unit.depthwise.bias)  # type: ignore[arg-type]

    def forward(self, x: Tensor) -> Tensor:
        """Add the unit's output to its input."""
        return F.relu(x + self.unit(x))


def _stage(extra: int) -> nn.Sequential:
    return nn.Sequential(Unit(WIDTH, WIDTH), Unit(WIDTH, WIDTH), *(Extra(WIDTH) for _ in range(extra)))


class TaperedStudent(nn.Module):
    """Finds faces: BGR float (N, 3, H, W), 0-255, sides multiples of 32 -> rows (N, P, 16), stride by stride.

    `waist`: channels within stride 4; `extra`: residual units at strides 8, 16 and 32. With 64 and none it is YuNet-n.
    """

    def __init__(self, waist: int = 32, extra: Sequence[int] = (1, 2, 1)) -> None:
        super().__init__()
        self.stem = nn.Conv2d(3, STEM, 3, 2, 1)
        self.stride2 = Unit(STEM, STEM)
        self.stride4 = nn.Sequential(Unit(STEM, STEM), Unit(STEM, waist), Unit(waist, waist), Unit(waist, WIDTH))
        self.stride8, self.stride16, self.stride32 = (_stage(count) for count in extra)
        self.fuse = nn.ModuleList(Unit(WIDTH, WIDTH) for _ in STRIDES)
        self.neck = nn.ModuleList(Unit(WIDTH, WIDTH) for _ in STRIDES)
        self.heads = nn.ModuleList(Unit(WIDTH, ROW, linear=True) for _ in STRIDES)

    def enter(self, x: Tensor) -> Tensor:
        """What stride 4 begins with: (N, 16, H / 4, W / 4)."""
        # the scale belongs to the weights, so that the exported graph has no step for it
        y = F.conv2d(x, self.stem.weight * PIXEL_SCALE, self.stem.bias, 2, 1)
        return F.max_pool2d(self.stride2(F.relu(y)), 2)

    def levels(self, x: Tensor) -> list[Tensor]:
        """One (N, H/s * W/s, 16) per stride, cells row-major."""
        fine = self.stride8(F.max_pool2d(self.stride4(self.enter(x)), 2))
        middle = self.stride16(F.max_pool2d(fine, 2))
        coarse = self.fuse[2](self.stride32(F.max_pool2d(middle, 2)))
        middle = self.fuse[1](middle + F.interpolate(coarse, scale_factor=2.0))
        fine = self.fuse[0](fine + F.interpolate(middle, scale_factor=2.0))
        maps = [head(neck(x)) for neck, head, x in zip(self.neck, self.heads, (fine, middle, coarse), strict=True)]
        return [x.flatten(2).transpose(1, 2) for x in maps]

    def forward(self, x: Tensor) -> Tensor:
        """The levels in turn: (N, P, 16)."""
        return torch.cat(self.levels(x), 1)
