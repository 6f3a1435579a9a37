"""A student's last layer, fitted to its targets by ridge regression before the first step.

A network that comes with another teacher's weights gives embeddings of another space. Its last layer is linear, so the
matrix that carries its features nearest to the targets has a closed form; steps are spent on what is not linear. The
penalty is a share of the features' mean power, so that it means the same for every network.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

from training.backbones.backbone import Student
from training.errors import InitialisationFailed


@torch.no_grad()
def regress_output(
    student: Student, pixels: Tensor, targets: Tensor, *, penalty: float = 1e-3, chunk: int = 64
) -> float:
    """Fit the last layer in place, towards unit `targets` (N, D) of `pixels` (N, 3, H, W), which are fed in chunks.

    Returns the mean cosine between what the student then gives and the targets.

    Raises:
        InitialisationFailed: The network does not end in a linear layer, or there are too few crops.
    """
    last = output_layer(student)
    if last is None:
        raise InitialisationFailed("regress: the network does not end in a linear layer")
    width = last.weight.shape[1]
    if len(pixels) < 2 * width:
        raise InitialisationFailed(
            f"regress: {len(pixels)} crops cannot fit a layer of {width} inputs: at least {2 * width}"
        )
    seen: list[Tensor] = []
    hook = last.register_forward_pre_hook(lambda _module, inputs: seen.append(inputs[0].flatten(1).float()))
    training = student.training
    try:
        student.eval()
        for part in torch.split(pixels, chunk):
            student(part)
    finally:
        hook.remove()
        student.train(training)
    features = torch.cat(seen).double()
    goal = targets.double()
    if last.bias is not None:
        features = torch.cat([features, features.new_ones(len(features), 1)], dim=1)
    gram = features.T @ features
    gram += penalty * gram.diagonal().mean() * torch.eye(len(gram), dtype=gram.dtype)
    solved = torch.linalg.solve(gram, features.T @ goal)
    last.weight.copy_(solved[:width].T.reshape(last.weight.shape).to(last.weight.dtype))
    if last.bias is not None:
        last.bias.copy_(solved[width].to(last.bias.dtype))
    return float(nn.functional.cosine_similarity(features @ solved, goal).mean())


def output_layer(student: Student) -> nn.Conv2d | nn.Linear | None:
    """The linear layer that gives the embedding, where the network ends in one."""
    modules = [module for module in student.head.modules() if not list(module.children())]
    ending = [module for module in modules if not isinstance(module, nn.Flatten | nn.Identity)]
    last = ending[-1] if ending else None
    if isinstance(last, nn.Linear) or (isinstance(last, nn.Conv2d) and last.kernel_size == (1, 1)):
        return last
    return None
