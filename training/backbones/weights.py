"""A published model's weights in single precision, beside its graph: what the next training goes on from.

An 8-bit graph does not give back what it was made of. `weights.npz` holds the student's tensors under their names in
the network, float32, and `recipe.json` the recipe whose student they fit.
"""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import torch
from torch import Tensor, nn

from service.face.manifest import InputSpec
from training.backbones.backbone import Student
from training.backbones.network import StudentSpec, build_student
from training.errors import InitialisationFailed

WEIGHTS, RECIPE = "weights.npz", "recipe.json"


def write_weights(network: nn.Module, path: Path) -> None:
    """Write every parameter and buffer as a compressed archive of float32 arrays; integers stay integers."""
    state = {name: tensor.detach().cpu() for name, tensor in network.state_dict().items()}
    arrays = {name: (t.float() if t.is_floating_point() else t).numpy() for name, t in state.items()}
    with path.open("wb") as file:
        np.savez_compressed(file, allow_pickle=False, **arrays)


def read_weights(folder: Path) -> dict[str, Tensor]:
    """Read the tensors of a published model.

    Raises:
        InitialisationFailed: The folder holds none that can be read.
    """
    path = folder / WEIGHTS
    try:
        with np.load(path, allow_pickle=False) as archive:
            return {name: torch.from_numpy(archive[name]) for name in archive.files}
    except (OSError, ValueError, EOFError) as error:
        raise InitialisationFailed(f"{path}: {error}: only a model with its weights is begun from") from error


def read_student(folder: Path) -> tuple[Student, InputSpec]:
    """A published model's network with its weights, in evaluation mode, and its input.

    Raises:
        InitialisationFailed: The folder lacks weights or recipe, or they do not fit each other.
        RecipeInvalid: The recipe's student is none that can be built.
    """
    path = folder / RECIPE
    try:
        recipe = json.loads(path.read_text(encoding="utf-8"))
        spec, pixels = StudentSpec.model_validate(recipe["student"]), InputSpec.model_validate(recipe["input"])
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise InitialisationFailed(f"{path}: {error}: only a model with its recipe is begun from") from error
    student = build_student(spec, pixels)
    try:
        student.load_state_dict(read_weights(folder))
    except RuntimeError as error:
        raise InitialisationFailed(f"{folder}: the weights do not fit the recipe's student: {error}") from error
    return student.eval(), pixels
