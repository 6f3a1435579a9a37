import json
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.training.conftest import MakeRecipe
from training.errors import RecipeInvalid
from training.recipe import replace_values
from training.tasks.embedding import EmbeddingRecipe
from training.tasks.registry import TASKS, read_recipe

RECIPES = sorted((Path(__file__).parents[2] / "training" / "recipes").rglob("*.yaml"))


def write(path: Path, values: dict[str, Any]) -> Path:
    path.write_text(yaml.safe_dump(values))
    return path


@pytest.fixture
def values(make_recipe: MakeRecipe) -> dict[str, Any]:
    return make_recipe().model_dump(mode="json")


@pytest.mark.parametrize("path", RECIPES, ids=lambda path: path.stem)
def test_every_recipe_in_the_repository_is_valid(path: Path) -> None:
    recipe = read_recipe(path)
    assert recipe.task in TASKS
    assert recipe.about, "a recipe says what it is for"


def test_a_recipe_survives_the_round_trip(values: dict[str, Any], tmp_path: Path) -> None:
    recipe = read_recipe(write(tmp_path / "r.yaml", values))
    assert recipe.model_dump(mode="json") == values


@pytest.mark.parametrize(
    ("change", "complaint"),
    [
        ({"learning_rate": 1}, "learning_rate"),
        ({"augment": {"flipp": 0.5}}, "augment.flipp"),
        ({"head": {"kind": "arcface"}}, "head.kind"),
        ({"terms": [{"tap": "middle", "target": {"kind": "none"}, "distance": {"kind": "triplet"}}]}, "terms.0.tap"),
        (
            {
                "terms": [
                    {"tap": "embedding", "target": {"kind": "select", "teachers": ["a"]}, "distance": {"kind": "mse"}}
                ]
            },
            "neurons",
        ),
        ({"schedule": {"peak": 1e-3, "batch": 4}}, "exactly one of epochs and steps"),
        ({"schedule": {"peak": 1e-3, "batch": 4, "steps": 3, "epochs": 1}}, "exactly one of epochs and steps"),
        ({"name": "Not a name!"}, "name"),
        ({"task": "telepathy"}, "known: "),
    ],
)
def test_what_is_wrong_is_named(values: dict[str, Any], tmp_path: Path, change: dict[str, Any], complaint: str) -> None:
    with pytest.raises(RecipeInvalid, match=complaint):
        read_recipe(write(tmp_path / "r.yaml", values | change))


def test_extends_replaces_top_level_keys(values: dict[str, Any], tmp_path: Path) -> None:
    write(tmp_path / "base.yaml", values)
    write(tmp_path / "child.yaml", {"extends": "base.yaml", "name": "child", "seed": 4})
    child = read_recipe(tmp_path / "child.yaml")
    assert (child.name, child.seed) == ("child", 4)
    assert child.model_dump(exclude={"name", "seed"}) == read_recipe(tmp_path / "base.yaml").model_dump(
        exclude={"name", "seed"}
    )


def test_extending_oneself_is_refused(tmp_path: Path) -> None:
    write(tmp_path / "a.yaml", {"extends": "b.yaml"})
    write(tmp_path / "b.yaml", {"extends": "a.yaml"})
    with pytest.raises(RecipeInvalid, match="extends itself"):
        read_recipe(tmp_path / "a.yaml")


@pytest.mark.parametrize(("text", "complaint"), [("[1, 2]", "mapping"), ("a: [", "not YAML")])
def test_a_file_that_is_no_recipe(tmp_path: Path, text: str, complaint: str) -> None:
    (tmp_path / "r.yaml").write_text(text)
    with pytest.raises(RecipeInvalid, match=complaint):
        read_recipe(tmp_path / "r.yaml")
    with pytest.raises(RecipeInvalid, match="No such file"):
        read_recipe(tmp_path / "missing.yaml")


def test_a_recipe_of_before_a_key_was_added_is_the_same_recipe(values: dict[str, Any], tmp_path: Path) -> None:
    recipe = read_recipe(write(tmp_path / "r.yaml", values))
    assert recipe.matches_text(recipe.model_dump_json())
    before = json.loads(recipe.model_dump_json())
    assert before["head"].pop("weight") == 1.0, "a default"
    assert recipe.matches_text(json.dumps(before))
    assert not recipe.matches_text(json.dumps(before | {"seed": recipe.seed + 1}))
    assert not recipe.matches_text(json.dumps(before | {"a key that is gone": 1}))


def test_values_are_replaced_by_their_path(make_recipe: MakeRecipe) -> None:
    recipe = make_recipe()
    changed = replace_values(recipe, EmbeddingRecipe, ["schedule.batch=3", "data.reduced=true"])
    assert (changed.schedule.batch, changed.data.reduced) == (3, True)
    assert changed.model_copy(update={"schedule": recipe.schedule, "data": recipe.data}) == recipe
    for wrong in ("schedule.speed=3", "speed=3", "schedule.batch.of=3", "schedule.batch=-1", "schedule.batch=["):
        with pytest.raises(RecipeInvalid):
            replace_values(recipe, EmbeddingRecipe, [wrong])
    with pytest.raises(RecipeInvalid, match="KEY=VALUE"):  # and not: no clipping
        replace_values(recipe, EmbeddingRecipe, ["schedule.clip"])


def test_landmarks_have_no_head_that_would_not_count(values: dict[str, Any], tmp_path: Path) -> None:
    path = write(tmp_path / "r.yaml", values | {"task": "landmarks"})
    with pytest.raises(RecipeInvalid, match=r"head: \{kind: none\}"):
        read_recipe(path)
