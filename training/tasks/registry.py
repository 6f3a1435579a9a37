"""Every kind of task there is. To add one: write its recipe and its `Task`, and add a line here."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from training.engine.checkpoint import Checkpoint
from training.engine.task import TaskKind
from training.errors import RecipeInvalid
from training.recipe import Recipe, read_mapping, validate
from training.tasks.detection.task import DETECTOR
from training.tasks.embedding import EMBEDDING
from training.tasks.landmarks import LANDMARKS

TASKS: dict[str, TaskKind[Any]] = {
    "detector": DETECTOR,
    "embedding": EMBEDDING,
    "landmarks": LANDMARKS,
}


def kind_of(task: object) -> TaskKind[Any]:
    """Look a task up.

    Raises:
        RecipeInvalid: The recipe is missing, misspelt or contradicts itself, naming what there is.
    """
    if task not in TASKS:
        raise RecipeInvalid(f"task: no task {task!r}; known: {', '.join(TASKS)}")
    return TASKS[str(task)]


def read_recipe(path: Path) -> Recipe:
    """Read and check a recipe of any task.

    Raises:
        RecipeInvalid: The recipe is missing, misspelt or contradicts itself.
    """
    values = read_mapping(path)
    recipe: Recipe = validate(kind_of(values.get("task")).recipe, values, str(path))
    return recipe


def read_stored(checkpoint: Checkpoint) -> Recipe:
    """Read the recipe that a run was made by, as its own task's.

    Raises:
        CheckpointInvalid: It is not a recipe of its task.
        RecipeInvalid: There is no such task.
    """
    kind: type[Recipe] = kind_of(json.loads(checkpoint.recipe).get("task")).recipe
    return checkpoint.read_recipe(kind)
