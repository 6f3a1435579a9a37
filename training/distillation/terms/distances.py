"""How far a student's output is from its target: the last part of a term.

Every distance takes `target` as it is (no gradient flows into it) and returns a scalar: the mean over the batch.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import Annotated, Literal

import torch
import torch.nn.functional as F
from pydantic import Field
from torch import Tensor

from training.recipe import Part


class _Distance(Part, ABC):
    @abstractmethod
    def measure(self, output: Tensor, target: Tensor, labels: Tensor) -> Tensor:
        """Distance of `output` (N, ...) from `target` (same shape); `labels` int64 (N,), -1 = unknown."""


class SquaredError(_Distance):
    """`1/(2N) sum ||u - v||^2`: MobileID's and Wang's. With `normalise`, of unit vectors, which is `1 - cos`."""

    kind: Literal["mse"]
    normalise: bool = False

    def measure(self, output: Tensor, target: Tensor, labels: Tensor) -> Tensor:
        """Average the distance over the batch."""
        u, v = output.flatten(1), target.detach().flatten(1)
        if self.normalise:
            u, v = F.normalize(u), F.normalize(v)
        return 0.5 * (u - v).square().sum(1).mean()


class Cosine(_Distance):
    """`mean (1 - cos)^power`. Power 2 is ShrinkTeaNet's angular loss (arXiv 1905.10620)."""

    kind: Literal["cosine"]
    power: float = Field(default=1.0, ge=1)

    def measure(self, output: Tensor, target: Tensor, labels: Tensor) -> Tensor:
        """Average the distance over the batch."""
        cosine = F.cosine_similarity(output.flatten(1), target.detach().flatten(1))
        # rounding can leave cos a hair above one, and a negative base has no fractional power
        return (1 - cosine).clamp(min=0).pow(self.power).mean()


class Relations(_Distance):
    """Mean squared difference of the cosines between every two samples of the batch (Tung and Mori, ICCV 2019).

    A student that is unsure gives what faces of a kind have in common, and strangers of that kind come out too much
    alike: this is what it pays for it.
    """

    kind: Literal["relations"]

    def measure(self, output: Tensor, target: Tensor, labels: Tensor) -> Tensor:
        """Average the distance over the pairs of the batch; zero where there is one sample."""
        u, v = F.normalize(output.flatten(1)), F.normalize(target.detach().flatten(1))
        wrong = (u @ u.T - v @ v.T).square()  # the diagonal is zero
        return wrong.sum() / max(1, len(u) * (len(u) - 1))


class Divergence(_Distance):
    """`T^2 * KL(softmax(v/T) || softmax(u/T))` of logits (Hinton et al., 2015)."""

    kind: Literal["kl"]
    temperature: float = Field(default=1.0, gt=0)

    def measure(self, output: Tensor, target: Tensor, labels: Tensor) -> Tensor:
        """Average the distance over the batch."""
        student = F.log_softmax(output / self.temperature, dim=1)
        teacher = F.log_softmax(target.detach() / self.temperature, dim=1)
        return self.temperature**2 * _kl(teacher, student)


class GroupedDivergence(_Distance):
    """Grouped KD (Zhao et al., AAAI 2023): KL within the primary group, plus KL of its mass against the rest.

    The primary group of a sample is the smallest set of classes that holds `mass` of the teacher's probability. What
    happens inside the secondary group is dropped.
    """

    kind: Literal["grouped_kl"]
    temperature: float = Field(default=1.0, gt=0)
    mass: float = Field(default=0.95, gt=0, lt=1)

    def measure(self, output: Tensor, target: Tensor, labels: Tensor) -> Tensor:
        """Average the distance over the batch."""
        student = F.log_softmax(output / self.temperature, dim=1)
        teacher = F.log_softmax(target.detach() / self.temperature, dim=1)
        primary = primary_group(teacher.exp(), self.mass)
        lowest = torch.finfo(student.dtype).min
        inside_student = student.masked_fill(~primary, lowest).logsumexp(1, keepdim=True)
        inside_teacher = teacher.masked_fill(~primary, lowest).logsumexp(1, keepdim=True)
        ratio = (teacher - inside_teacher) - (student - inside_student)
        weight = (teacher - inside_teacher).exp()
        within = (weight * ratio).masked_fill(~primary, 0).sum(1).mean()
        between = _kl(_with_rest(inside_teacher), _with_rest(inside_student))
        return self.temperature**2 * (within + between)


def primary_group(probabilities: Tensor, mass: float) -> Tensor:
    """Boolean (N, C): the fewest classes whose probability reaches `mass`, at least one."""
    ordered, order = probabilities.sort(dim=1, descending=True, stable=True)
    before = ordered.cumsum(1) - ordered
    return torch.zeros_like(probabilities, dtype=torch.bool).scatter(1, order, before < mass)


class Triplet(_Distance):
    """`mean max(0, margin + d(a, p) - d(a, n))` of squared distances between unit vectors (FaceNet, 2015).

    Every pair of one identity is an anchor and its positive; the negative is the nearest other identity that is still
    farther than the positive (semi-hard), or else the nearest one. Ties go to the first. Needs labels, no target.
    """

    kind: Literal["triplet"]
    margin: float = Field(default=0.2, gt=0)

    def measure(self, output: Tensor, target: Tensor, labels: Tensor) -> Tensor:
        """Average the distance over the batch."""
        known = labels >= 0
        unit, labels = F.normalize(output[known]), labels[known]
        distances = (2 - 2 * unit @ unit.T).clamp(min=0)
        same = labels[:, None] == labels
        positive = same & ~torch.eye(len(labels), dtype=torch.bool, device=labels.device)
        anchors, positives = positive.nonzero(as_tuple=True)
        if len(anchors) == 0 or bool(same.all()):
            return output.sum() * 0.0
        to_positive = distances[anchors, positives]
        to_others = distances[anchors].masked_fill(same[anchors], float("inf"))
        semi_hard = to_others.masked_fill(to_others <= to_positive[:, None], float("inf"))
        nearest = torch.where(semi_hard.isfinite().any(1), semi_hard.detach().argmin(1), to_others.detach().argmin(1))
        to_negative = distances[anchors, nearest]
        return (self.margin + to_positive - to_negative).clamp(min=0).mean()


class Landmarks(_Distance):
    """`1/(2N) sum ||R - R*||^2` over landmarks in units of the crop (Wang et al., arXiv 1709.02929)."""

    kind: Literal["landmarks"]

    def measure(self, output: Tensor, target: Tensor, labels: Tensor) -> Tensor:
        """Average the distance over the batch."""
        return 0.5 * (output.flatten(1) - target.detach().flatten(1)).square().sum(1).mean()


Distance = Annotated[
    SquaredError | Cosine | Relations | Divergence | GroupedDivergence | Triplet | Landmarks,
    Field(discriminator="kind"),
]


def _kl(teacher: Tensor, student: Tensor) -> Tensor:
    """Mean KL(teacher || student) of log-probabilities (N, C)."""
    return F.kl_div(student, teacher, reduction="batchmean", log_target=True)


def _with_rest(inside: Tensor) -> Tensor:
    """Log mass (N, 1) of a group -> log masses (N, 2) of the group and of the rest."""
    inside = inside.clamp(max=-1e-7)
    return torch.cat([inside, torch.log(-torch.expm1(inside))], dim=1)
