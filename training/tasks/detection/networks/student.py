"""The detector student: depthwise-separable residual blocks, a top-down pyramid and one head per stride.

An architecture of its own; only the meaning of the sixteen numbers per cell is YuNet's, so that one decoder reads both.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn
from torch.nn import functional as F

STRIDES = (8, 16, 32)
#: One row per cell: cls logit, obj logit, box (dx, dy, log w, log h) and five landmarks (x, y), lengths in strides.
CLS, OBJ, BOX, KPS = slice(0, 1), slice(1, 2), slice(2, 6), slice(6, 16)
ROW = 16
#: Prior probability of a face in a cell, so that the first steps are not spent on learning that most cells are empty.
OBJ_PRIOR_LOGIT = -4.5
#: Pixels are scaled by this inside the net; no offset, so that the black padding of a served picture stays zero.
PIXEL_SCALE = 1 / 64


def conv_norm(inputs: int, outputs: int, kernel: int, stride: int = 1, groups: int = 1) -> nn.Sequential:
    """Build a convolution and its batch norm."""
    return nn.Sequential(
        nn.Conv2d(inputs, outputs, kernel, stride, kernel // 2, groups=groups, bias=False), nn.BatchNorm2d(outputs)
    )


class Separable(nn.Module):
    """Depthwise 3x3 then pointwise, each with batch norm; residual where the shape allows."""

    def __init__(self, inputs: int, outputs: int, stride: int = 1) -> None:
        super().__init__()
        self.depthwise = conv_norm(inputs, inputs, 3, stride, groups=inputs)
        self.pointwise = conv_norm(inputs, outputs, 1)
        self.residual = stride == 1 and inputs == outputs

    def forward(self, x: Tensor) -> Tensor:
        """Map (N, C, H, W) to the unit's output."""
        y: Tensor = self.pointwise(F.relu(self.depthwise(x)))
        return F.relu(x + y if self.residual else y)


def _stage(inputs: int, outputs: int, blocks: int) -> nn.Sequential:
    return nn.Sequential(Separable(inputs, outputs, 2), *(Separable(outputs, outputs) for _ in range(blocks)))


def _head(width: int) -> nn.Conv2d:
    head = nn.Conv2d(width, ROW, 1)
    nn.init.normal_(head.weight, std=0.01)
    with torch.no_grad():
        head.bias.zero_()  # type: ignore[union-attr]
        head.bias[OBJ] = OBJ_PRIOR_LOGIT  # type: ignore[index]
    return head


class DetectorStudent(nn.Module):
    """Finds faces: BGR float (N, 3, H, W), 0-255, sides multiples of 32 -> rows (N, P, 16), stride by stride.

    `stem`: channels at strides 2 and 4; `width`: channels from stride 8 on; `blocks`: residual blocks at strides 4, 8,
    16 and 32.
    """

    def __init__(self, stem: Sequence[int] = (16, 32), width: int = 64, blocks: Sequence[int] = (1, 3, 3, 3)) -> None:
        super().__init__()
        self.stem = conv_norm(3, stem[0], 3, 2)
        self.stride4 = _stage(stem[0], stem[1], blocks[0])
        self.stride8 = _stage(stem[1], width, blocks[1])
        self.stride16 = _stage(width, width, blocks[2])
        self.stride32 = _stage(width, width, blocks[3])
        self.fuse = nn.ModuleList(Separable(width, width) for _ in STRIDES)
        self.neck = nn.ModuleList(Separable(width, width) for _ in STRIDES)
        self.heads = nn.ModuleList(_head(width) for _ in STRIDES)

    def levels(self, x: Tensor) -> list[Tensor]:
        """One (N, H/s * W/s, 16) per stride, cells row-major."""
        fine = self.stride8(self.stride4(F.relu(self.stem(x * PIXEL_SCALE))))
        middle = self.stride16(fine)
        coarse = self.fuse[2](self.stride32(middle))
        middle = self.fuse[1](middle + F.interpolate(coarse, scale_factor=2.0))
        fine = self.fuse[0](fine + F.interpolate(middle, scale_factor=2.0))
        maps = [head(neck(x)) for neck, head, x in zip(self.neck, self.heads, (fine, middle, coarse), strict=True)]
        return [x.flatten(2).transpose(1, 2) for x in maps]

    def forward(self, x: Tensor) -> Tensor:
        """The levels in turn: (N, P, 16)."""
        return torch.cat(self.levels(x), 1)
