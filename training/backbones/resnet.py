"""Residual networks with ordinary convolutions: the plain family and the IR family of face recognition.

Plain: He et al., arXiv 1512.03385, basic blocks. IR: ArcFace (arXiv 1801.07698, section 3.1), BN-Conv-BN-PReLU-Conv-BN
blocks, a stem without pooling, and BN-Dropout-FC-BN as the embedding. iresnet100 is the IR net of depths 3, 13, 30, 3
with 65M parameters.
"""

from collections.abc import Sequence

from torch import Tensor, nn

from training.backbones.backbone import Student

WIDTHS = (64, 128, 256, 512)


def conv(inputs: int, outputs: int, kernel: int, stride: int = 1) -> nn.Conv2d:
    """Build a convolution without bias that keeps the size but for its stride."""
    return nn.Conv2d(inputs, outputs, kernel, stride, kernel // 2, bias=False)


def projection(inputs: int, outputs: int, stride: int) -> nn.Module:
    """The shortcut: identity, or a strided 1x1 convolution where the shape changes."""
    if stride == 1 and inputs == outputs:
        return nn.Identity()
    return nn.Sequential(conv(inputs, outputs, 1, stride), nn.BatchNorm2d(outputs))


class Basic(nn.Module):
    """Conv-BN-ReLU-Conv-BN, shortcut, ReLU."""

    def __init__(self, inputs: int, outputs: int, stride: int) -> None:
        super().__init__()
        self.body = nn.Sequential(
            conv(inputs, outputs, 3, stride),
            nn.BatchNorm2d(outputs),
            nn.ReLU(),
            conv(outputs, outputs, 3),
            nn.BatchNorm2d(outputs),
        )
        self.shortcut = projection(inputs, outputs, stride)
        self.act = nn.ReLU()

    def forward(self, x: Tensor) -> Tensor:
        """Map (N, C, H, W) to (N, outputs, H / stride, W / stride)."""
        y: Tensor = self.act(self.body(x) + self.shortcut(x))
        return y


class Improved(nn.Module):
    """BN-Conv-BN-PReLU-Conv-BN and shortcut; the second convolution carries the stride."""

    def __init__(self, inputs: int, outputs: int, stride: int) -> None:
        super().__init__()
        self.body = nn.Sequential(
            nn.BatchNorm2d(inputs),
            conv(inputs, outputs, 3),
            nn.BatchNorm2d(outputs),
            nn.PReLU(outputs),
            conv(outputs, outputs, 3, stride),
            nn.BatchNorm2d(outputs),
        )
        self.shortcut = projection(inputs, outputs, stride)

    def forward(self, x: Tensor) -> Tensor:
        """Map (N, C, H, W) to (N, outputs, H / stride, W / stride)."""
        y: Tensor = self.body(x) + self.shortcut(x)
        return y


def _runs(
    block: type[Basic] | type[Improved], inputs: int, depths: Sequence[int], widths: Sequence[int]
) -> list[nn.Module]:
    """One run of blocks per stage, each halving the map."""
    runs: list[nn.Module] = []
    for depth, outputs in zip(depths, widths, strict=True):
        blocks = [block(inputs, outputs, 2)] + [block(outputs, outputs, 1) for _ in range(depth - 1)]
        runs.append(nn.Sequential(*blocks))
        inputs = outputs
    return runs


def resnet(
    input_size: int = 112, *, depths: Sequence[int] = (2, 2, 2, 2), width: float = 1.0, dim: int = 512
) -> Student:
    """The plain family: stem of stride 1, four stages that each halve the map, mean over the map, linear embedding."""
    widths = [round(w * width) for w in WIDTHS[: len(depths)]]
    stem = nn.Sequential(conv(3, widths[0], 3), nn.BatchNorm2d(widths[0]), nn.ReLU())
    head = nn.Sequential(nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(widths[-1], dim))
    return Student([stem, *_runs(Basic, widths[0], depths, widths)], head, input_size=input_size, dim=dim)


def iresnet(
    input_size: int = 112,
    *,
    depths: Sequence[int] = (2, 2, 2, 2),
    width: float = 1.0,
    dim: int = 512,
    dropout: float = 0.0,
) -> Student:
    """The IR family, for inputs of a multiple of 16 pixels. Depths 2-2-2-2: iresnet18; 3-4-14-3: iresnet50."""
    widths = [round(w * width) for w in WIDTHS[: len(depths)]]
    stem = nn.Sequential(conv(3, widths[0], 3), nn.BatchNorm2d(widths[0]), nn.PReLU(widths[0]))
    side = input_size // 2 ** len(depths)
    head = nn.Sequential(
        nn.BatchNorm2d(widths[-1]),
        nn.Dropout(dropout),
        nn.Flatten(),
        nn.Linear(widths[-1] * side * side, dim),
        nn.BatchNorm1d(dim),
    )
    return Student([stem, *_runs(Improved, widths[0], depths, widths)], head, input_size=input_size, dim=dim)


def iresnet100(input_size: int = 112, *, dim: int = 512) -> Student:
    """The large net that costs are compared with."""
    return iresnet(input_size, depths=(3, 13, 30, 3), dim=dim)
