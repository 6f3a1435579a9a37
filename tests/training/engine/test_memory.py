import sys

import torch

from tests.training.conftest import MakeRecipe
from training.engine.checkpoint import load_checkpoint
from training.engine.fit import fit
from training.engine.memory import kept_memory
from training.recipe import Roots, replace_values
from training.tasks.embedding import EMBEDDING, EmbeddingRecipe


def test_the_c_library_of_linux_is_told_to_keep_memory() -> None:
    with kept_memory() as kept:
        assert kept == sys.platform.startswith("linux")
        assert torch.ones(4 << 20).sum() == 4 << 20


def test_where_memory_goes_changes_no_number(roots: Roots, make_recipe: MakeRecipe) -> None:
    kept = make_recipe(name="kept")
    returned = replace_values(kept, EmbeddingRecipe, ["name=returned", "schedule.memory=returned"])
    states = [
        load_checkpoint(fit(recipe, EMBEDDING, roots, accelerator="cpu", progress=False)).best
        for recipe in (kept, returned)
    ]
    assert all(torch.equal(states[0][name], states[1][name]) for name in states[0])
