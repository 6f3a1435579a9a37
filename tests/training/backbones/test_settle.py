"""Gates that hardly move, made part of the convolutions before them."""

import torch

from tests.training.conftest import MakeRecipe
from training.backbones.backbone import Student
from training.backbones.retail import Excite, retail
from training.backbones.settle import settle
from training.engine.checkpoint import load_checkpoint
from training.engine.fit import fit
from training.recipe import Roots
from training.tasks.embedding import EMBEDDING

NARROW = {"hidden": ((8, 8), (8,), (8,)), "outputs": (8, 8, 8), "stem": 8, "head": 8, "dim": 4}
SOME = ((True, False), (True,), (False,))


def make(excite: bool | tuple[tuple[bool, ...], ...]) -> Student:
    return retail(32, excite=excite, **NARROW).eval()  # type: ignore[arg-type]


def gates(student: Student) -> list[Excite]:
    return [module for module in student.modules() if isinstance(module, Excite)]


@torch.no_grad()
def test_a_gate_that_never_moves_is_settled_exactly() -> None:
    torch.manual_seed(0)
    gated, like, pixels = make(True), make(SOME), torch.randn(3, 3, 32, 32)
    for gate in gates(gated):
        gate.expand.weight.zero_()
        gate.expand.bias.copy_(torch.linspace(-2, 2, 8))  # type: ignore[union-attr]
    before = gated(pixels)
    assert settle(gated, like, pixels) == 2
    torch.testing.assert_close(gated(pixels), before, rtol=1e-4, atol=1e-6)
    assert gated.state_dict().keys() == like.state_dict().keys()


@torch.no_grad()
def test_a_gate_that_moves_is_replaced_by_its_mean() -> None:
    torch.manual_seed(0)
    gated, pixels = make(True), torch.randn(5, 3, 32, 32)
    block = gated.stages[3][0]  # type: ignore[index]
    outputs: list[torch.Tensor] = []
    hook = block.excite.expand.register_forward_hook(lambda _m, _i, y: outputs.append(y))
    gated(pixels)
    hook.remove()
    expected = block.project.weight * outputs[0].sigmoid().mean(0)[..., None]
    settle(gated, make(SOME), pixels)
    torch.testing.assert_close(block.project.weight, expected)
    assert len(gates(gated)) == 2


def test_a_recipe_settles_the_gates_of_an_earlier_run(roots: Roots, make_recipe: MakeRecipe) -> None:
    schedule = {"peak": 1e-3, "batch": 4, "steps": 1}
    options = {"kind": "retail", "input_size": 32, **NARROW}
    fit(make_recipe(name="gated", student=options, schedule=schedule), EMBEDDING, roots, progress=False)
    init = {"kind": "checkpoint", "run": "gated", "minimum": 1.0, "settle": 8}
    chosen = options | {"excite": SOME}
    fit(make_recipe(student=chosen, init=init, schedule=schedule), EMBEDDING, roots, progress=False)
    facts = load_checkpoint(roots.runs / "tiny").facts
    assert facts["initialisation"].endswith("0 left random, 2 gates settled")
