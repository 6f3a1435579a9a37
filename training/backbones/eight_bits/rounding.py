"""A student as 8-bit arithmetic will see it: weights and activations rounded in the forward pass, gradients as if not.

The rounding is that of the exported graph (`training.export.graphs.write_int8`): weights per channel, symmetric, to
seven bits, activations per tensor to eight, before and after every activation function. What is rounded tells the loss,
so that training finds weights that bear it: quantisation-aware training (Jacob et al., arXiv 1712.05877). Gradients
pass through the rounding unchanged, and stop where a value is beyond its range (the straight-through estimator).
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator, Sequence
from contextlib import contextmanager

import torch
from torch import Tensor, nn
from torch.func import functional_call

from training.backbones.backbone import Features, Student
from training.backbones.eight_bits.ranges import INPUT, places, round_activation

WEIGHT_STEPS = 64
"""Steps of a weight to either side: seven bits, whose products do not overflow sixteen-bit sums."""


def round_weight(weight: Tensor, steps: int = WEIGHT_STEPS) -> Tensor:
    """A convolution's weight (out, in, h, w) as its 8-bit form holds it, one scale for each output channel."""
    scale = (weight.detach().abs().amax((1, 2, 3)) / steps).clamp(min=1e-12)
    zeros = torch.zeros(len(scale), dtype=torch.int32, device=weight.device)
    return torch.fake_quantize_per_channel_affine(weight, scale, zeros, 0, -steps, steps)


class EightBits:
    """Rounds what a student computes. Its weights stay in single precision, and it is no part of the student."""

    def __init__(
        self, student: Student, *, weight_steps: int = WEIGHT_STEPS, only: Collection[str] | None = None
    ) -> None:
        """`weight_steps`: to either side; 0: weights as they are. `only`: the places that are rounded, else all."""
        self._whole = _Featuring(student)
        self._input = only is None or INPUT in only
        self._places = [(module, only is None or name in only) for name, module in places(student).items()]
        convolutions = [name for name, module in student.named_modules() if isinstance(module, nn.Conv2d)]
        self._weights, self._steps = convolutions if weight_steps else [], weight_steps

    def features(self, x: Tensor, ranges: Tensor) -> Features:
        """The student's embedding and stages for `x` (N, 3, H, W), rounded within `ranges` (`find_ranges`)."""
        own, *others = ranges.tolist()
        parameters = dict(self._whole.named_parameters())
        names = [f"student.{name}.weight" for name in self._weights]
        rounded = {name: round_weight(parameters[name], self._steps) for name in names}
        with self._rounding(others):
            features: Features = functional_call(
                self._whole, rounded, (round_activation(x, *own) if self._input else x,)
            )
        return features

    @contextmanager
    def _rounding(self, ranges: Sequence[tuple[float, float]]) -> Iterator[None]:
        pairs = zip(self._places, ranges, strict=True)
        hooks = [module.register_forward_hook(_rounder(*ends)) for (module, wanted), ends in pairs if wanted]
        try:
            yield
        finally:
            for hook in hooks:
                hook.remove()


class _Featuring(nn.Module):
    """The student's `features` as a forward pass."""

    def __init__(self, student: Student) -> None:
        super().__init__()
        self.student = student

    def forward(self, x: Tensor) -> Features:
        """Map (N, 3, H, W) to embedding and stages."""
        return self.student.features(x)


def _rounder(low: float, high: float) -> Callable[[nn.Module, object, Tensor], Tensor]:
    def hook(_module: nn.Module, _inputs: object, output: Tensor) -> Tensor:
        return round_activation(output.float(), low, high)

    return hook
