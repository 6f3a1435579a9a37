"""MobileFaceNet (arXiv 1804.07573) and its wider relative.

Inverted residuals with PReLU, a global depthwise convolution in place of pooling and a linear embedding. The published
net has 0.99M parameters and 128 values. ShrinkTeaNet's MobileFaceNet-R (arXiv 1905.10620) is published with 3.73M
parameters and no table of widths: every width doubled gives 3.71M, and that is how it is read here.
"""

from torch import Tensor, nn

from training.backbones.backbone import Student
from training.backbones.retail import Slope

STAGES = (((2, 64, 5),), ((4, 128, 1), (2, 128, 6)), ((4, 128, 1), (2, 128, 2)))
"""Runs of (expansion, channels, blocks); the first block of every stage halves the map."""


def conv(inputs: int, outputs: int, kernel: int = 1, *, stride: int = 1, groups: int = 1) -> nn.Sequential:
    """Convolution, batch normalisation, PReLU with a slope per channel."""
    return nn.Sequential(*linear(inputs, outputs, kernel, stride=stride, groups=groups), nn.PReLU(outputs))


def linear(
    inputs: int, outputs: int, kernel: int = 1, *, stride: int = 1, groups: int = 1, padding: int | None = None
) -> nn.Sequential:
    """Convolution and batch normalisation."""
    padding = kernel // 2 if padding is None else padding
    return nn.Sequential(
        nn.Conv2d(inputs, outputs, kernel, stride, padding, groups=groups, bias=False), nn.BatchNorm2d(outputs)
    )


class Bottleneck(nn.Module):
    """1x1 expansion, 3x3 depthwise, linear 1x1 projection; a shortcut where the shape is kept."""

    def __init__(self, inputs: int, outputs: int, expansion: int, stride: int) -> None:
        super().__init__()
        hidden = inputs * expansion
        self.body = nn.Sequential(
            conv(inputs, hidden), conv(hidden, hidden, 3, stride=stride, groups=hidden), linear(hidden, outputs)
        )
        self.shortcut = stride == 1 and inputs == outputs

    def forward(self, x: Tensor) -> Tensor:
        """Map (N, inputs, H, W) to (N, outputs, H / stride, W / stride)."""
        y: Tensor = self.body(x)
        return x + y if self.shortcut else y


def mobileface(input_size: int = 112, *, width: float = 1.0, dim: int = 128, trained_slopes: bool = True) -> Student:
    """MobileFaceNet for inputs of a multiple of 16 pixels; ``width`` scales every inner width.

    Without ``trained_slopes`` every slope stays at a quarter, where PReLU begins: their gradients take more than a
    third of a step on a CPU.
    """
    channels = round(64 * width)
    stem = nn.Sequential(conv(3, channels, 3, stride=2), conv(channels, channels, 3, groups=channels))
    stages: list[nn.Module] = [stem]
    for runs in STAGES:
        blocks: list[nn.Module] = []
        for expansion, base, count in runs:
            for _ in range(count):
                outputs = round(base * width)
                blocks.append(Bottleneck(channels, outputs, expansion, stride=1 if blocks else 2))
                channels = outputs
        stages.append(nn.Sequential(*blocks))
    last = round(512 * width)
    head = nn.Sequential(
        conv(channels, last),
        linear(last, last, input_size // 16, groups=last, padding=0),
        linear(last, dim),
        nn.Flatten(),
    )
    student = Student(stages, head, input_size=input_size, dim=dim)
    if not trained_slopes:
        _keep_slopes(student)
    return student


def _keep_slopes(network: nn.Module) -> None:
    for module in list(network.modules()):
        for name, child in module.named_children():
            if isinstance(child, nn.PReLU):
                setattr(module, name, Slope())


def mobileface_r(input_size: int = 112, *, dim: int = 128) -> Student:
    """MobileFaceNet-R: every width doubled."""
    return mobileface(input_size, width=2.0, dim=dim)
