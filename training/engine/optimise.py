"""Optimiser, learning rate and averaged weights."""

from __future__ import annotations

import math
from collections.abc import Mapping

import torch
from torch import Tensor, nn
from torch.optim.swa_utils import get_ema_multi_avg_fn

from training.recipe import Schedule


def build_optimiser(module: nn.Module, schedule: Schedule) -> torch.optim.Optimizer:
    """AdamW or SGD. Weight decay falls on matrices and kernels, not on biases, slopes and norms."""
    trained = [p for p in module.parameters() if p.requires_grad]
    groups = [
        {"params": [p for p in trained if p.ndim > 1], "weight_decay": schedule.weight_decay},
        {"params": [p for p in trained if p.ndim <= 1], "weight_decay": 0.0},
    ]
    groups = [group for group in groups if group["params"]]
    if schedule.optimiser == "adamw":
        return torch.optim.AdamW(groups, lr=schedule.peak, fused=True)
    return torch.optim.SGD(groups, lr=schedule.peak, momentum=schedule.momentum)


def rate(step: int, total: int, schedule: Schedule) -> float:
    """Compute the learning rate of a step: a linear rise over the warm-up, then a half cosine down to `peak * final`.

    It is torch's `LinearLR` and then `CosineAnnealingLR`, in closed form: those go on from the rate before, so that a
    run that resumes would not continue exactly.
    """
    warm = round(schedule.warmup * total)
    if step < warm:
        return schedule.peak * (step + 1) / warm
    progress = (step - warm) / max(1, total - warm)
    floor = schedule.peak * schedule.final
    return floor + (schedule.peak - floor) * 0.5 * (1 + math.cos(math.pi * progress))


class Average:
    """Exponential moving average of a state dict. Young averages use a smaller decay: min(d, (1 + t) / (10 + t)).

    `torch.optim.swa_utils.AveragedModel` would copy the whole task, with the data it draws from; a state is enough.
    """

    def __init__(self, state: Mapping[str, Tensor], decay: float) -> None:
        self.state = {name: tensor.detach().clone() for name, tensor in state.items()}
        self._decay = decay

    @torch.no_grad()
    def update(self, state: Mapping[str, Tensor], step: int) -> None:
        """Move towards `state` after `step`. Integers (batch counters) are copied."""
        keep = min(self._decay, (1 + step) / (10 + step))
        floats = [name for name, tensor in self.state.items() if tensor.is_floating_point()]
        if floats:
            average = get_ema_multi_avg_fn(keep)  # type: ignore[no-untyped-call]
            average([self.state[n] for n in floats], [state[n] for n in floats], None)
        for name, tensor in self.state.items():
            if not tensor.is_floating_point():
                tensor.copy_(state[name])
