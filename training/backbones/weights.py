"""A published model's weights in single precision, beside its graph: what the next training goes on from.

An 8-bit graph does not give back what it was made of. `weights.npz` holds the student's tensors under their names in
the network, float32, and `recipe.json` the recipe whose student they fit.
"""

from __future__ import annotations

import json
import zipfile
from pathlib import Path

import numpy as np
import torch
from torch import Tensor, nn

from service.face.manifest import InputSpec
from training.atomic_folder import whole_folder
from training.backbones.backbone import Student
from training.backbones.network import StudentSpec, build_student, restore_student
from training.engine.checkpoint import load_checkpoint
from training.errors import InitialisationFailed

WEIGHTS, RECIPE, FACTS = "weights.npz", "recipe.json", "facts.json"
KEPT = Path(__file__).parents[1] / "weights"
"""Weights of runs that are not finished, a folder each, to be gone on from anywhere."""


def write_weights(network: nn.Module, path: Path, *, half: bool = False) -> None:
    """Write every parameter and buffer as a compressed archive of arrays, float32 or float16."""
    state = {name: tensor.detach().cpu() for name, tensor in network.state_dict().items()}
    kind = torch.float16 if half else torch.float32
    arrays = {name: (t.to(kind) if t.is_floating_point() else t).numpy() for name, t in state.items()}
    with path.open("wb") as file:
        np.savez_compressed(file, allow_pickle=False, **arrays)


def read_weights(folder: Path) -> dict[str, Tensor]:
    """Read the tensors of a published model.

    Raises:
        InitialisationFailed: The folder holds none that can be read.
    """
    path = folder / WEIGHTS
    try:
        with path.open("rb") as file, np.load(file, allow_pickle=False) as archive:
            tensors = {name: torch.from_numpy(archive[name]) for name in archive.files}
            return {name: t.float() if t.is_floating_point() else t for name, t in tensors.items()}
    except (OSError, ValueError, EOFError, zipfile.BadZipFile) as error:
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


def keep(run: Path, folder: Path) -> Path:
    """Keep a run's best weights, in half precision, with its recipe and what it learnt from; returns the folder.

    Raises:
        CheckpointInvalid: There is no checkpoint, or it does not fit.
        FolderTaken: The folder holds something else.
    """
    checkpoint = load_checkpoint(run)
    student, _ = restore_student(checkpoint)
    names = ("initialisation", "data", "teachers", "spaces", "crops", "device")
    facts = {name: checkpoint.facts[name] for name in names if name in checkpoint.facts}  # older runs know no spaces
    with whole_folder(folder, WEIGHTS) as draft:
        write_weights(student, draft / WEIGHTS, half=True)
        (draft / RECIPE).write_text(json.dumps(json.loads(checkpoint.recipe), indent=2) + "\n", encoding="utf-8")
        facts_of_run = {"step": checkpoint.step, "total": checkpoint.total, **facts}
        (draft / FACTS).write_text(json.dumps(facts_of_run, indent=2) + "\n", encoding="utf-8")
    return folder


def read_facts(folder: Path) -> dict[str, object]:
    """Read what kept weights were made of.

    Raises:
        InitialisationFailed: The folder does not say.
    """
    try:
        facts: dict[str, object] = json.loads((folder / FACTS).read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise InitialisationFailed(f"{folder / FACTS}: {error}: `facet-train keep` writes it") from error
    return facts
