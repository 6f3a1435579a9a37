"""The MobileID net (Luo et al., AAAI 2016): three convolutions with pooling and three fully connected layers.

About 1.18M parameters at its 55x47 input, with 422 selected neurons as the output.
"""

from torch import nn

from training.backbones.backbone import Student


def mobileid(height: int = 55, width: int = 47, *, channels: int = 64, hidden: int = 500, dim: int = 422) -> Student:
    """Convolutions 4x4, 3x3, 3x3 without padding, each followed by ReLU and 2x2 pooling; then the dense layers."""

    def stage(inputs: int, kernel: int) -> nn.Module:
        return nn.Sequential(nn.Conv2d(inputs, channels, kernel), nn.ReLU(), nn.MaxPool2d(2))

    rows, columns = ((((side - 3) // 2 - 2) // 2 - 2) // 2 for side in (height, width))
    head = nn.Sequential(
        nn.Flatten(),
        nn.Linear(channels * rows * columns, hidden),
        nn.ReLU(),
        nn.Linear(hidden, hidden),
        nn.ReLU(),
        nn.Linear(hidden, dim),
    )
    return Student([stage(3, 4), stage(channels, 3), stage(channels, 3)], head, input_size=(height, width), dim=dim)
