"""The one budget that all rows share, and how a recipe is cut to it.

1,250 steps of 128 are ten epochs of celeba and pins as they are prepared, and the rate has fallen to nothing at the
last: a row is trained to its end. The teacher's length follows `steps`, and all else stays.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from training.papers.rows import TEACHER
from training.recipe import Recipe, validate
from training.tasks.registry import kind_of, read_recipe

RECIPES = Path(__file__).parents[1] / "recipes" / "papers"


@dataclass(frozen=True, slots=True)
class Budget:
    """How much of everything a comparison takes.

    Every row is trained for `steps` of `batch` crops, once with each of `seeds` seeds; the teacher `lessons` times as
    long, once. `rounds` is the size of the bootstrap, `turns` the length of the timing.
    """

    name: str
    steps: int
    batch: int
    seeds: int
    lessons: int
    rounds: int
    turns: int


BUDGETS: dict[str, Budget] = {
    "small": Budget("small", steps=2, batch=8, seeds=1, lessons=1, rounds=20, turns=2),
    "real": Budget("real", steps=1250, batch=128, seeds=3, lessons=1, rounds=300, turns=20),
}


def run_name(stem: str, seed: int) -> str:
    """The run of a row; there is one teacher for all seeds.

    Raises:
        RecipeInvalid: The recipe is missing, misspelt or contradicts itself.
    """
    name = read_recipe(RECIPES / f"{stem}.yaml").name
    return name if stem == TEACHER else f"{name}-{seed}"


def cut(stem: str, budget: Budget, seed: int) -> Recipe:
    """A recipe of the papers with the budget's length, the seed, and the runs of the same seed to start from.

    Raises:
        RecipeInvalid: The recipe is missing, misspelt or contradicts itself.
    """
    recipe = read_recipe(RECIPES / f"{stem}.yaml")
    values: dict[str, Any] = recipe.model_dump()
    steps = budget.steps * budget.lessons if stem == TEACHER else budget.steps
    schedule = values["schedule"] | {"epochs": None, "steps": steps, "batch": budget.batch}
    changes: dict[str, Any] = {"name": run_name(stem, seed), "seed": seed, "schedule": schedule}
    if values["init"]["kind"] == "checkpoint":
        changes["init"] = values["init"] | {"run": f"{values['init']['run']}-{seed}"}
    cut_down: Recipe = validate(kind_of(recipe.task).recipe, values | changes, f"{stem}, seed {seed}")
    return cut_down
