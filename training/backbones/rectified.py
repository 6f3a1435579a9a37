"""A network made to be quantised: ordinary convolutions and ReLU, nothing else.

Static 8-bit arithmetic pays where a layer is one matrix product whose activation is a clip: ReLU disappears into the
requantisation, 3x3 convolutions with channels in multiples of 16 fill the dot-product instructions, and there is no
gate, slope or depthwise kernel that would need a pass of its own. Residual blocks of two 3x3 convolutions, the
bottleneck between stages carried by the strided one; the map is flattened into one dense layer, as in the IR family,
because a mean would throw away where things are.
"""

from collections.abc import Sequence

from torch import nn

from training.backbones.backbone import Student
from training.backbones.resnet import Basic, conv


def rectified(
    input_size: int = 64,
    *,
    stem: int = 32,
    widths: Sequence[int] = (48, 96, 160),
    depths: Sequence[int] = (1, 2, 2),
    squeeze: int = 64,
    dim: int = 256,
) -> Student:
    """For inputs of a multiple of 16 pixels; ``squeeze`` channels are left of the last map for the dense layer."""
    stages: list[nn.Module] = [nn.Sequential(conv(3, stem, 3, 2), nn.BatchNorm2d(stem), nn.ReLU())]
    inputs = stem
    for width, depth in zip(widths, depths, strict=True):
        blocks = [Basic(inputs, width, 2)] + [Basic(width, width, 1) for _ in range(depth - 1)]
        stages.append(nn.Sequential(*blocks))
        inputs = width
    side = input_size // 2 ** (1 + len(widths))
    head = nn.Sequential(
        conv(inputs, squeeze, 1),
        nn.BatchNorm2d(squeeze),
        nn.ReLU(),
        nn.Flatten(),
        nn.Linear(squeeze * side * side, dim),
    )
    return Student(stages, head, input_size=input_size, dim=dim)
