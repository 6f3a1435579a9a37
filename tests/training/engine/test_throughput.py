from tests.training.conftest import MakeRecipe
from training.engine.throughput import measure_pace
from training.recipe import Roots
from training.tasks.embedding import EMBEDDING


def test_a_pace_is_measured_and_no_run_is_kept(roots: Roots, make_recipe: MakeRecipe) -> None:
    found = measure_pace(make_recipe(), EMBEDDING, roots, steps=2, turns=2)
    assert found.loop > 0
    assert found.ratio == found.loop / found.bare
    assert 0 <= found.data_wait < 1
    assert not list(roots.runs.iterdir())
