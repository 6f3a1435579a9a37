"""Class centres and margins: the head axis.

A head holds one centre per identity. Its *plain logits* are `scale * cos(embedding, centre)`; training adds the
angular margin `arc` (ArcFace, Deng et al. 2019) and the cosine margin `cos` (CosFace, Wang et al. 2018) to the true
class. Zero margins are normalised softmax. Where the centres come from is a choice of the recipe:

* `learned`: parameters, by gradient; with a `teacher` they start where its centres are;
* `frozen`: the teacher's class means (or its own head's centres), never changed;
* `ema`: an exponential moving average of teacher embeddings, without gradient (AdaDistill, Boutros et al. 2024).
"""

from __future__ import annotations

from typing import Literal

import torch
import torch.nn.functional as F
from pydantic import Field
from torch import Tensor, nn

from training.recipe import Part


class HeadSpec(Part):
    """`kind` says where centres come from; `weight` scales the cross-entropy."""

    kind: Literal["none", "learned", "frozen", "ema"] = "none"
    teacher: str | None = None
    arc: float = Field(default=0.0, ge=0, lt=3.2)
    cos: float = Field(default=0.0, ge=0, lt=1)
    scale: float = Field(default=64.0, gt=0)
    weight: float = Field(default=1.0, gt=0)
    smoothing: float = Field(default=0.0, ge=0, lt=1)


def margin_logits(cosines: Tensor, labels: Tensor, *, arc: float, cos: float, scale: float) -> Tensor:
    """`scale * (cos(theta + arc) - cos)` for the true class, `scale * cos(theta)` for the others.

    `cosines` is float (N, C) in -1..1, `labels` int64 (N,). Past theta + arc = pi the cosine would rise again;
    there the tangent-free continuation `cos(theta) - arc * sin(arc)` of the ArcFace code keeps it falling.
    """
    true = cosines.gather(1, labels[:, None]).clamp(-1 + 1e-7, 1 - 1e-7)
    if arc:
        shifted = true * torch.cos(true.new_tensor(arc)) - (1 - true * true).sqrt() * torch.sin(true.new_tensor(arc))
        limit = torch.cos(true.new_tensor(torch.pi - arc))
        shifted = torch.where(true > limit, shifted, true - arc * torch.sin(true.new_tensor(arc)))
    else:
        shifted = true
    return scale * cosines.scatter(1, labels[:, None], shifted - cos)


class Head(nn.Module):
    """Centres (classes, dim) and the cross-entropy against them."""

    centres: Tensor

    def __init__(self, spec: HeadSpec, classes: int, dim: int, centres: Tensor | None = None) -> None:
        super().__init__()
        self.spec = spec
        if spec.kind == "learned":
            start = centres if centres is not None else torch.randn(classes, dim) * 0.01
            self.centres = nn.Parameter(start.clone())
        elif spec.kind == "frozen":
            if centres is None:
                raise ValueError("a frozen head needs the teacher's centres")
            self.register_buffer("centres", centres.clone())
        else:
            # a zero centre becomes the first teacher embedding seen: alpha is 0 there
            self.register_buffer("centres", torch.zeros(classes, dim) if centres is None else centres.clone())

    def cosines(self, embedding: Tensor) -> Tensor:
        """Cosines (N, classes) between embeddings (N, D) and all centres."""
        with torch.autocast(embedding.device.type, enabled=False):  # sixteen bits are too few for angles
            return F.linear(F.normalize(embedding), F.normalize(self.centres))

    def logits(self, embedding: Tensor) -> Tensor:
        """Plain logits (N, classes): scaled cosines, no margin."""
        return self.spec.scale * self.cosines(embedding)

    def loss(self, embedding: Tensor, labels: Tensor, teacher: Tensor | None = None) -> Tensor:
        """Mean cross-entropy with margins over the samples whose label is known (0 or more).

        An EMA head first moves its centres towards `teacher` (N, D).
        """
        if self.spec.kind == "ema" and self.training:
            if teacher is None:
                raise ValueError("an EMA head needs the teacher's embeddings")
            self.move_centres(embedding.detach(), teacher.detach(), labels)
        known = labels >= 0
        logits = margin_logits(
            self.cosines(embedding),
            labels.clamp(min=0),
            arc=self.spec.arc,
            cos=self.spec.cos,
            scale=self.spec.scale,
        )
        total = F.cross_entropy(
            logits,
            labels.masked_fill(~known, -1),
            ignore_index=-1,
            reduction="sum",
            label_smoothing=self.spec.smoothing,
        )
        return total / known.sum().clamp(min=1)

    @torch.no_grad()
    def move_centres(self, student: Tensor, teacher: Tensor, labels: Tensor) -> None:
        """AdaDistill's step: alpha = clip(cos(s, t) * cos(w_y, t), 0, 1); w_y <- alpha * w_y + (1 - alpha) * t.

        `student` and `teacher` are (N, D), `labels` (N,), -1 where unknown. A class with several samples in the batch
        moves to the mean of their proposals, so the order within a batch does not matter. All ranks see all samples.
        """
        student, teacher, labels = _from_all_ranks(F.normalize(student), F.normalize(teacher), labels)
        known = labels >= 0
        student, teacher, labels = student[known], teacher[known], labels[known]
        old = self.centres[labels]
        alpha = ((student * teacher).sum(1) * (F.normalize(old) * teacher).sum(1)).clamp(0, 1)[:, None]
        proposals = alpha * old + (1 - alpha) * teacher
        classes, place = torch.unique(labels, return_inverse=True)
        members = F.one_hot(place, len(classes)).to(proposals.dtype)
        self.centres[classes] = (members / members.sum(0)).T @ proposals


def class_means(embeddings: Tensor, labels: Tensor, classes: int) -> Tensor:
    """Unit mean of the unit embeddings (N, D) of each class: (classes, D). Labels below 0 are left out."""
    known = labels >= 0
    sums = torch.zeros(classes, embeddings.shape[1], dtype=embeddings.dtype)
    sums.index_add_(0, labels[known], F.normalize(embeddings[known]))
    return F.normalize(sums)


def _from_all_ranks(*tensors: Tensor) -> tuple[Tensor, ...]:
    if not (torch.distributed.is_available() and torch.distributed.is_initialized()):
        return tensors
    gathered = []
    for tensor in tensors:
        parts = [torch.empty_like(tensor) for _ in range(torch.distributed.get_world_size())]
        torch.distributed.all_gather(parts, tensor)
        gathered.append(torch.cat(parts))
    return tuple(gathered)
