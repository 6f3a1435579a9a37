"""Where 8-bit arithmetic rounds a student's activations, and within which ranges.

A range goes from the least to the greatest value that ordinary crops give. Narrower ones, chosen for the least squared
error of a place's own values, made the embedding worse, though every place was rounded with less error: the errors of
rounding average out over a map, and those of values held at the end of a range do not.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

from training.backbones.backbone import Student
from training.backbones.retail import Excite, Head, Inverted, Mean, Slope, Stem

STEPS = 255
INPUT = "input"
"""The name of the first place: what goes into the student."""
ROUNDED = (nn.Conv2d, Slope, Mean, nn.Sigmoid, Excite, nn.Flatten)


def places(student: Student) -> dict[str, nn.Module]:
    """The modules whose outputs 8-bit arithmetic rounds, by name: those of the retail net's kinds of blocks.

    Others normalise after a convolution, which the exported graph has as one, so that they have other outputs.
    """
    blocks = [module for module in student.modules() if isinstance(module, Stem | Inverted | Head)]
    known = {id(module) for block in blocks for module in block.modules()}
    return {
        name: module
        for name, module in student.named_modules()
        if id(module) in known and (isinstance(module, ROUNDED) or (isinstance(module, Inverted) and module.shortcut))
    }


def round_activation(x: Tensor, low: float, high: float) -> Tensor:
    """An activation in 255 steps from `low` (at most 0) to `high`; what is beyond is held at the end."""
    scale = max((high - low) / STEPS, 1e-12)
    return torch.fake_quantize_per_tensor_affine(x, scale, round(-low / scale), 0, STEPS)


@torch.no_grad()
def find_ranges(student: Student, pixels: Tensor, *, chunk: int = 8) -> Tensor:
    """The lowest and highest value of the input and of each place's output, found on `pixels` (N, 3, H, W).

    Returns float (1 + places, 2).
    """
    known = places(student)
    seen: dict[str, list[tuple[float, float]]] = {name: [] for name in (INPUT, *known)}
    hooks = []
    for name, module in known.items():

        def look(module: nn.Module, inputs: tuple[Tensor, ...], output: Tensor, name: str = name) -> None:
            # the quantiser gives a mean the range of what it is the mean of
            values = inputs[0] if isinstance(module, Mean) else output
            seen[name].append((float(values.min()), float(values.max())))

        hooks.append(module.register_forward_hook(look))
    trained = student.training
    try:
        for part in torch.split(pixels, chunk):
            seen[INPUT].append((float(part.min()), float(part.max())))
            student.eval()(part)
    finally:
        student.train(trained)
        for hook in hooks:
            hook.remove()
    # zero is always among the steps
    return torch.tensor(
        [(min(0.0, *lows), max(0.0, *highs)) for lows, highs in (zip(*ends, strict=True) for ends in seen.values())]
    )


def name_ranges(student: Student, ranges: Tensor) -> dict[str, tuple[float, float]]:
    """What `find_ranges` found, by the name of the place."""
    named = zip((INPUT, *places(student)), ranges, strict=True)
    return {name: (float(low), float(high)) for name, (low, high) in named}
