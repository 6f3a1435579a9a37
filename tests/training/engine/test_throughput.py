from tests.training.conftest import MakeRecipe
from training.engine.throughput import compare_paces, measure_pace
from training.recipe import Roots, replace_values
from training.tasks.embedding import EMBEDDING, EmbeddingRecipe


def test_a_pace_is_measured_and_no_run_is_kept(roots: Roots, make_recipe: MakeRecipe) -> None:
    found = measure_pace(make_recipe(), EMBEDDING, roots, steps=2, turns=2)
    assert found.loop > 0
    assert found.ratio == found.loop / found.bare
    assert 0 <= found.data_wait < 1
    assert not list(roots.runs.iterdir())


def test_two_paces_are_measured_in_turns_and_no_run_is_kept(roots: Roots, make_recipe: MakeRecipe) -> None:
    recipe = make_recipe(augment={"flip": 0.5, "light": 0.1}, data={"sets": {"six": 1.0}, "reduced": True})
    other = replace_values(recipe, EmbeddingRecipe, ["data.reduced=false", "schedule.batch=6"])
    found = compare_paces(recipe, other, EMBEDDING, roots, steps=2, turns=2)
    assert found.now > 0
    assert found.ratio == found.now / found.other
    assert not list(roots.runs.iterdir())
