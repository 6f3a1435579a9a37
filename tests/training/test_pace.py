import pytest

from tests.training.conftest import INPUT, MakeRecipe
from training.embedding import EMBEDDING
from training.pace import measure_pace
from training.recipe import Roots


def test_a_pace_is_measured_and_no_run_is_kept(roots: Roots, make_recipe: MakeRecipe) -> None:
    found = measure_pace(make_recipe(), EMBEDDING, roots, steps=2, turns=2)
    assert found.loop > 0
    assert found.ratio == found.loop / found.bare
    assert 0 <= found.data_wait < 1
    assert not roots.runs.exists()


@pytest.mark.slow
def test_the_loop_costs_little_more_than_the_network(roots: Roots, make_recipe: MakeRecipe) -> None:
    """A network of ordinary size: less than a tenth of the time goes to data, optimiser, average and logs."""
    schedule = {"peak": 1e-3, "batch": 32, "steps": 1, "ema": 0.99}
    recipe = make_recipe(
        student={"kind": "retail", "input_size": 96}, input=INPUT | {"width": 96, "height": 96}, schedule=schedule
    )
    found = measure_pace(recipe, EMBEDDING, roots, steps=8, turns=3)
    assert found.ratio > 0.9
    assert found.data_wait < 0.1
