"""Levers laid over a recipe's values, and over the recipes that they are for."""

from pathlib import Path
from typing import Any

import pytest

import training
from training.ablations.levers import BASE, LEVERS, Times, lay
from training.ablations.row import make_row
from training.errors import RecipeInvalid
from training.tasks.embedding import EmbeddingRecipe
from training.tasks.registry import read_recipe

RECIPES = Path(training.__file__).parent / "recipes"
VALUES: dict[str, Any] = {"a": {"b": 4, "c": [1, {"d": 2.0}, 3]}, "e": None}


@pytest.mark.parametrize(
    ("changes", "wanted"),
    [
        ({}, VALUES),
        ({"a": {"b": 7}}, {"a": {"b": 7, "c": [1, {"d": 2.0}, 3]}, "e": None}),
        ({"a": {"b": Times(0.5)}}, {"a": {"b": 2, "c": [1, {"d": 2.0}, 3]}, "e": None}),
        ({"a": {"c": {1: {"d": Times(3)}}}}, {"a": {"b": 4, "c": [1, {"d": 6.0}, 3]}, "e": None}),
        ({"a": {"c": {1: None}}}, {"a": {"b": 4, "c": [1, 3]}, "e": None}),
        ({"a": {"f": {"g": 1}}, "e": None}, {"a": {"b": 4, "c": [1, {"d": 2.0}, 3], "f": {"g": 1}}}),
    ],
)
def test_changes_go_where_they_belong(changes: dict[str, Any], wanted: dict[str, Any]) -> None:
    before = repr(VALUES)
    assert lay(VALUES, changes) == wanted
    assert repr(VALUES) == before


@pytest.mark.parametrize("changes", [{"x": None}, {"e": Times(2)}, {"a": {"c": {3: None}}}, {"a": {"b": {"c": 1}}}])
def test_what_is_not_there_cannot_be_changed(changes: dict[str, Any]) -> None:
    with pytest.raises(RecipeInvalid, match=next(iter(changes))):
        lay(VALUES, changes)


@pytest.mark.parametrize("lever", LEVERS)
@pytest.mark.parametrize("name", ["facet-s", "facet-m"])
def test_every_lever_changes_the_recipes_of_the_students(name: str, lever: str) -> None:
    recipe = read_recipe(RECIPES / f"{name}.yaml")
    assert isinstance(recipe, EmbeddingRecipe)
    row = make_row(recipe, lever, 100)
    base = make_row(recipe, BASE, 100).recipe
    assert row.recipe.name == f"{name}-{lever}"
    assert (row.recipe.model_copy(update={"name": base.name}) == base) == (lever == BASE)
    assert row.recipe.schedule.steps == (200 if lever == "batch-half" else 100)
    assert base.schedule.warmup * 100 == pytest.approx(
        min(100 / 3, recipe.schedule.warmup * recipe.schedule.steps), abs=0.01
    )  # type: ignore[operator]


def test_a_lever_that_changes_nothing_is_refused() -> None:
    recipe = read_recipe(RECIPES / "facet-s.yaml")
    assert isinstance(recipe, EmbeddingRecipe)
    maskless = recipe.model_copy(update={"augment": recipe.augment.model_copy(update={"mask": 0.0})})
    with pytest.raises(RecipeInvalid, match="as it is"):
        make_row(maskless, "masks-off", 100)
    with pytest.raises(RecipeInvalid, match="known: base, seed"):
        make_row(recipe, "magic", 100)
