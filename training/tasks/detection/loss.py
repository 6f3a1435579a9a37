"""Dense distillation of a one-stage detector: every cell of the teacher's maps is a target."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional as F

from training.tasks.detection.networks.student import BOX, CLS, KPS, OBJ


@dataclass(frozen=True, slots=True)
class DetectionWeights:
    """Weights of the four parts, and the teacher's score from which a cell's box and landmarks are worth copying."""

    obj: float = 1.0
    cls: float = 1.0
    box: float = 2.0
    kps: float = 1.0
    min_score: float = 0.2


def distil_rows(
    student: Tensor, teacher: Tensor, weights: DetectionWeights, stress: Tensor | None = None
) -> dict[str, Tensor]:
    """Distance of the student's rows from the teacher's, both (N, P, 16): weighted scalars by name.

    `stress` (N,) says how much the cells of each picture count in `obj`; once where it is None.

    With t the teacher's probabilities, q = sqrt(t_cls t_obj) its score and the sums over all cells of the batch:

    - obj = sum KL(t_obj | s_obj) / sum t_obj over all cells, KL of the two Bernoulli distributions: cross-entropy less
      the target's entropy, so that a perfect copy costs nothing;
    - cls = sum t_obj KL(t_cls | s_cls) / sum t_obj: the teacher's cls means something only where it sees an object;
    - box = sum q |d| / sum q over cells with q >= `min_score`, |d| the mean absolute difference of
      (dx / w, dy / h, log w, log h) with w, h the teacher's box: an error counts by the size of the face;
    - kps likewise, differences divided by the mean of w and h.
    """
    seen = teacher[..., OBJ]
    mass = seen.sum().clamp_min(1.0)
    factor = torch.ones_like(seen) if stress is None else stress[:, None, None]
    obj = (factor * _bernoulli_kl(student[..., OBJ], seen)).sum() / mass
    cls = (seen * _bernoulli_kl(student[..., CLS], teacher[..., CLS])).sum() / mass

    score = (seen * teacher[..., CLS]).clamp_min(0).sqrt().squeeze(-1)
    chosen = score >= weights.min_score
    weight = score[chosen]
    norm = weight.sum().clamp_min(1.0)
    s, t = student[chosen], teacher[chosen]
    size = t[:, BOX][:, 2:].exp()
    shift = (s[:, BOX][:, :2] - t[:, BOX][:, :2]).abs() / size
    scale = (s[:, BOX][:, 2:] - t[:, BOX][:, 2:]).abs()
    box = (weight * (shift.sum(1) + scale.sum(1)) / 4).sum() / norm
    kps = (weight * (s[:, KPS] - t[:, KPS]).abs().mean(1) / size.mean(1)).sum() / norm
    return {"obj": weights.obj * obj, "cls": weights.cls * cls, "box": weights.box * box, "kps": weights.kps * kps}


def _bernoulli_kl(logit: Tensor, target: Tensor) -> Tensor:
    entropy = F.binary_cross_entropy(target, target, reduction="none")
    return F.binary_cross_entropy_with_logits(logit, target, reduction="none") - entropy
