"""The recipes of the shipped embedders can be read, and describe networks that exist."""

from pathlib import Path

import pytest

import training
from training.backbones.initialise import FromWeights, copy_weights
from training.backbones.network import build_student
from training.backbones.weights import KEPT, read_facts, read_student
from training.tasks.embedding import EmbeddingRecipe
from training.tasks.registry import read_recipe

RECIPES = Path(training.__file__).parent / "recipes"


@pytest.mark.parametrize("name", ["facet-s", "facet-m"])
def test_recipe_builds_its_student(name: str) -> None:
    recipe = read_recipe(RECIPES / f"{name}.yaml")
    assert isinstance(recipe, EmbeddingRecipe)
    assert recipe.name == name
    student = build_student(recipe.student, recipe.input)
    assert student.dim == 256
    assert recipe.terms
    assert recipe.data.split == "train", "what is held out tells by kinds how good it is"
    assert "glint24" not in recipe.data.sets, "its people are in the benchmarks"


@pytest.mark.parametrize("name", ["facet-s", "facet-m"])
def test_kept_weights_fit_the_recipe_that_begins_from_them(name: str) -> None:
    recipe = read_recipe(RECIPES / f"{name}.yaml")
    assert isinstance(recipe, EmbeddingRecipe)
    assert isinstance(recipe.init, FromWeights)
    kept, pixels = read_student(KEPT / recipe.init.weights)
    assert pixels == recipe.input
    student = build_student(recipe.student, recipe.input)
    assert not copy_weights(student, kept.state_dict(), 1.0, name).left
    facts = read_facts(KEPT / recipe.init.weights)
    assert set(facts["data"]) == set(recipe.data.sets)  # type: ignore[call-overload]
