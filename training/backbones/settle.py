"""Settled gates: a squeeze-and-excite unit whose gates hardly move becomes part of the convolution before it.

A gate multiplies each channel by a number between 0 and 1 that depends on the picture. Where it depends on it but
little, its mean over ordinary pictures, multiplied into the projection, does nearly the same and costs nothing.
"""

import torch
from torch import Tensor, nn

from training.backbones.backbone import Student
from training.backbones.retail import Excite, Inverted


@torch.no_grad()
def settle(student: Student, like: Student, pixels: Tensor) -> int:
    """Settle in place the gates that ``student`` has and ``like``, of the same blocks, has not.

    Means are taken over ``pixels`` (N, 3, H, W), all gates working. Returns how many were settled.
    """
    names = {name for name, module in like.named_modules() if isinstance(module, Inverted)} - _gated(like)
    settled = {name: student.get_submodule(name) for name in sorted(names & _gated(student))}
    means: dict[str, Tensor] = {}
    hooks = []
    for name, block in settled.items():

        def measure(_module: nn.Module, _inputs: object, output: Tensor, name: str = name) -> None:
            means[name] = output.sigmoid().mean((0, 2, 3))

        assert isinstance(block, Inverted)
        assert isinstance(block.excite, Excite)
        hooks.append(block.excite.expand.register_forward_hook(measure))
    try:
        student.eval()(pixels)
    finally:
        for hook in hooks:
            hook.remove()
    for name, block in settled.items():
        assert isinstance(block, Inverted)
        block.project.weight *= means[name].view(-1, 1, 1, 1)
        assert block.project.bias is not None
        block.project.bias *= means[name]
        block.excite = nn.Identity()
    return len(settled)


def _gated(student: Student) -> set[str]:
    blocks = student.named_modules()
    return {name for name, module in blocks if isinstance(module, Inverted) and isinstance(module.excite, Excite)}
