"""How near an embedding is to what it should be, told from the crop alone: a second output of a student.

The student is asked, of a crop that may be blurred, dark, masked or no face at all, for the cosine between its own
embedding and the teacher's of the clean crop. What it has already computed says much of that: the last map, whose
channels are quiet where nothing is recognised, and the embedding with its length, which MagFace (CVPR 2021) reads.
Two dense layers read it; they cost some ten thousand multiply-adds.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

from training.backbones.backbone import Student


class Confidence(nn.Module):
    """Features (N, D) -> confidence (N, 1) in 0..1; `mean` and `spread` bring every feature to one scale."""

    mean: Tensor
    spread: Tensor

    def __init__(self, features: int, hidden: int = 24) -> None:
        super().__init__()
        self.register_buffer("mean", torch.zeros(features))
        self.register_buffer("spread", torch.ones(features))
        self.first = nn.Linear(features, hidden)
        self.second = nn.Linear(hidden, 1)

    def forward(self, features: Tensor) -> Tensor:
        """Features (N, D) to confidence (N, 1)."""
        return torch.sigmoid(self.logits(features))

    def logits(self, features: Tensor) -> Tensor:
        """Give the confidence before the sigmoid, (N, 1)."""
        scaled = (features - self.mean) / self.spread
        values: Tensor = self.second(torch.relu(self.first(scaled)))
        return values


def gather_features(embedding: Tensor, stage: Tensor) -> Tensor:
    """What the head reads: means and maxima of the last map's channels, and the embedding: (N, 2 C + D)."""
    return torch.cat([stage.mean((2, 3)), stage.amax((2, 3)), embedding], dim=1)


class Confident(nn.Module):
    """A student with its confidence: pixels (N, 3, H, W) -> embedding (N, D), confidence (N, 1)."""

    def __init__(self, student: Student, confidence: Confidence) -> None:
        super().__init__()
        self.student = student
        self.confidence = confidence

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """Pixels (N, 3, H, W) to embedding (N, D) and confidence (N, 1)."""
        embedding, stages = self.student.features(x)
        return embedding, self.confidence(gather_features(embedding, stages[-1]))
