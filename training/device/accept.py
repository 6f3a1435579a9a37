"""`facet-train device-accept`: what came back from a device becomes a run like any other, to export and publish."""

from __future__ import annotations

import json
import zipfile
from pathlib import Path

import numpy as np
import torch

from training.device.pack import read_recipe_of
from training.engine.checkpoint import FILE, Checkpoint, load_checkpoint, save_checkpoint
from training.errors import CheckpointInvalid
from training.recipe import Roots
from training.tasks.embedding import EmbeddingTask


def accept(pack: Path, back: Path, roots: Roots) -> Path:
    """Make `student.npz` and `fit.json` of `back` the run of the pack's recipe; returns the run's folder.

    Raises:
        CheckpointInvalid: Files are missing or do not fit the recipe's student, or a run of its name was trained here.
    """
    recipe = read_recipe_of(pack)
    run = roots.runs / recipe.name
    if (run / FILE).exists() and "device" not in load_checkpoint(run).facts:
        raise CheckpointInvalid(f"{run} holds a run that was trained here: move it away to take this one")
    task = EmbeddingTask(recipe, roots)
    try:
        outcome = json.loads((back / "fit.json").read_text(encoding="utf-8"))
        step = int(outcome["step"])
        with (back / "student.npz").open("rb") as file, np.load(file, allow_pickle=False) as archive:
            task.student.load_state_dict({name: torch.from_numpy(archive[name]) for name in archive.files})
    except (OSError, ValueError, KeyError, TypeError, EOFError, RuntimeError, zipfile.BadZipFile) as error:
        raise CheckpointInvalid(f"{back} does not hold what a device gives back: {error}") from error
    state = {name: tensor.detach() for name, tensor in task.state_dict().items()}
    facts = dict(task.facts) | {"device": outcome}
    save_checkpoint(run, Checkpoint(recipe.model_dump_json(), step, step, state, state, {}, facts))
    return run
