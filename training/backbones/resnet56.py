"""The CIFAR-style ResNet-56 (arXiv 1512.03385, section 4.2): three stages of nine basic blocks, 16, 32 and 64 channels.

About 0.85M parameters before the embedding. It was made for 32 pixels; a stem of ``stem_stride`` 2 brings face crops
near that size.
"""

from torch import nn

from training.backbones.backbone import Student
from training.backbones.resnet import Basic, conv


def resnet56(
    input_size: int = 112, *, width: float = 1.0, blocks: int = 9, stem_stride: int = 2, dim: int = 512
) -> Student:
    """6 * ``blocks`` + 2 layers; ``width`` scales the channels."""
    widths = [round(w * width) for w in (16, 32, 64)]
    stages: list[nn.Module] = [nn.Sequential(conv(3, widths[0], 3, stem_stride), nn.BatchNorm2d(widths[0]), nn.ReLU())]
    inputs = widths[0]
    for stage, outputs in enumerate(widths):
        run = [Basic(inputs, outputs, 1 if stage == 0 else 2)]
        run += [Basic(outputs, outputs, 1) for _ in range(blocks - 1)]
        stages.append(nn.Sequential(*run))
        inputs = outputs
    head = nn.Sequential(nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(inputs, dim))
    return Student(stages, head, input_size=input_size, dim=dim)
