"""Cross-layer equalisation: the same function, with the ranges of hidden channels made equal.

An 8-bit activation has one scale for all its channels, and a network trained without batch normalisation lets their
ranges drift apart until the small ones round to nothing. Where a convolution, a positively homogeneous activation
(f(ax) = a f(x) for a > 0: ReLU, LeakyReLU) and a convolution follow each other, every channel can be divided by its
range in the first and multiplied in the second, and nothing else changes (Nagel et al., arXiv 1906.04721, with ranges
measured on data in place of weight norms).
"""

from collections.abc import Iterator
from itertools import zip_longest
from typing import NamedTuple

import torch
from torch import Tensor, nn

from training.backbones.backbone import Student
from training.backbones.retail import Head, Inverted, Stem

LEAST = 1e-3
"""No channel is stretched further than this share of the widest: dead channels stay small."""


class Couple(NamedTuple):
    """Two convolutions that share hidden channels, and the activation between them."""

    first: nn.Conv2d
    act: nn.Module
    second: nn.Conv2d


def couples(student: Student) -> Iterator[Couple]:
    """The couples of inverted residuals, of the stem with the block after it, and of the head."""
    modules = [module for module in student.modules() if isinstance(module, Stem | Inverted | Head)]
    for module, following in zip_longest(modules, modules[1:]):
        if isinstance(module, Inverted):
            yield Couple(module.expand, module.act1, module.depthwise)
            yield Couple(module.depthwise, module.act2, module.project)
            continue
        chain = list(module)
        yield _couple(chain[0], chain[1], chain[2])
        if isinstance(module, Head):
            yield _couple(chain[2], nn.Identity(), chain[3])
        elif isinstance(following, Inverted):
            yield _couple(chain[2], chain[3], following.expand)


@torch.no_grad()
def equalise(student: Student, pixels: Tensor) -> int:
    """Equalise a student in place, with ranges measured on ``pixels`` (N, 3, H, W). Returns the number of couples."""
    chain = list(couples(student))
    ranges: list[Tensor] = []
    hooks = []
    for couple in chain:

        def measure(_module: nn.Module, _inputs: object, output: Tensor, act: nn.Module = couple.act) -> None:
            # both sides of the activation are rounded
            ranges.append(torch.maximum(output.abs().amax((0, 2, 3)), act(output).abs().amax((0, 2, 3))))

        hooks.append(couple.first.register_forward_hook(measure))
    try:
        student.eval()(pixels)
    finally:
        for hook in hooks:
            hook.remove()
    for couple, channels in zip(chain, ranges, strict=True):
        _rescale(couple, (channels / channels.max()).clamp(min=LEAST))
    return len(chain)


def _rescale(couple: Couple, shares: Tensor) -> None:
    rows = shares.view(-1, 1, 1, 1)
    couple.first.weight /= rows
    if couple.first.bias is not None:
        couple.first.bias /= shares
    couple.second.weight *= rows if couple.second.groups > 1 else shares.view(1, -1, 1, 1)


def _couple(first: nn.Module, act: nn.Module, second: nn.Module) -> Couple:
    assert isinstance(first, nn.Conv2d)
    assert isinstance(second, nn.Conv2d)
    return Couple(first, act, second)
