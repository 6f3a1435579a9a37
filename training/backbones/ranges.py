"""Ranges of activations for 8-bit arithmetic: those that round with the least squared error.

A range from the least to the greatest value spends its 255 steps on what hardly occurs. Beyond a narrower one a few
values are held at its end, and all the others are rounded more finely; the best of both is searched for, on values
that the network has for ordinary crops. Where a leaky activation follows, the error is that after it: what is negative
counts less by its slope, so that such a range may end early on that side.
"""

from __future__ import annotations

from dataclasses import dataclass, field

import torch
from torch import Tensor, nn

from training.backbones.backbone import Student
from training.backbones.retail import Excite, Head, Inverted, Slope, Stem

STEPS = 255
LOWS = tuple(share / 10 for share in range(10, 1, -1))
HIGHS = tuple(share / 20 for share in range(20, 9, -1))
"""Shares of the least and of the greatest value that are tried as ends of a range."""
SAMPLE = 1024
"""Values of an activation that are kept of one crop."""


def places(student: Student) -> dict[str, nn.Module]:
    """The modules whose outputs 8-bit arithmetic rounds, by name: those of the retail net's kinds of blocks.

    Others normalise after a convolution, which the exported graph has as one, so that they have other outputs.
    """
    blocks = [module for module in student.modules() if isinstance(module, Stem | Inverted | Head)]
    known = {id(module) for block in blocks for module in block.modules()}
    return {
        name: module
        for name, module in student.named_modules()
        if id(module) in known
        and (isinstance(module, nn.Conv2d | Slope | Excite) or (isinstance(module, Inverted) and module.shortcut))
    }


def round_activation(x: Tensor, low: float, high: float) -> Tensor:
    """An activation in 255 steps from `low` (at most 0) to `high`; what is beyond is held at the end."""
    scale = max((high - low) / STEPS, 1e-12)
    return torch.fake_quantize_per_tensor_affine(x, scale, round(-low / scale), 0, STEPS)


@dataclass(slots=True)
class _Seen:
    """Values of one place's output, and the slope of the leaky activation that it goes into (1: none)."""

    values: list[Tensor] = field(default_factory=list)
    low: float = 0.0
    high: float = 0.0
    slope: float = 1.0


@torch.no_grad()
def find_ranges(student: Student, pixels: Tensor, *, chunk: int = 8, seed: int = 0) -> Tensor:
    """The lowest and highest value of each place's output, float (places, 2), found on `pixels` (N, 3, H, W)."""
    seen = {name: _Seen() for name in places(student)}
    draw = torch.Generator().manual_seed(seed)
    outputs: dict[int, str] = {}  # which place a tensor came from, while it lives
    hooks = []
    for name, module in places(student).items():

        def look(module: nn.Module, inputs: tuple[Tensor, ...], output: Tensor, name: str = name) -> None:
            if isinstance(module, Slope) and id(inputs[0]) in outputs:
                seen[outputs[id(inputs[0])]].slope = float(module.weight)
            outputs[id(output)] = name
            mine = seen[name]
            mine.low, mine.high = min(mine.low, float(output.min())), max(mine.high, float(output.max()))
            flat = output.reshape(-1)
            mine.values.append(flat[torch.randint(len(flat), (SAMPLE * len(output),), generator=draw)])

        hooks.append(module.register_forward_hook(look))
    trained = student.training
    try:
        for part in pixels.split(chunk):
            outputs.clear()
            student.eval()(part)
    finally:
        student.train(trained)
        for hook in hooks:
            hook.remove()
    return torch.tensor([_best(mine) for mine in seen.values()]).reshape(-1, 2)


def _best(seen: _Seen) -> tuple[float, float]:
    """The range with the least squared error, of all that are tried; values, and not samples, end the widest."""
    values = torch.cat(seen.values)
    values = torch.cat([values, values.new_tensor([seen.low, seen.high])])
    wanted = torch.where(values < 0, seen.slope * values, values)

    def error(low: float, high: float) -> float:
        rounded = round_activation(values, low, high)
        return float((torch.where(rounded < 0, seen.slope * rounded, rounded) - wanted).square().sum())

    low, high = min(seen.low, 0.0), max(seen.high, 0.0)
    # one end after the other, twice: the ends hardly depend on each other
    best_low, best_high = low, high
    for _ in range(2):
        best_high = min((share * high for share in HIGHS), key=lambda end: error(best_low, end))
        if low < 0:
            best_low = min((share * low for share in LOWS), key=lambda end: error(end, best_high))
    return best_low, best_high
