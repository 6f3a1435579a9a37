"""What each kind of rounding costs, on a small network of the kind that it is known for."""

from pathlib import Path

import pytest
from typer.testing import CliRunner

from tests.training.conftest import MakeRecipe, MakeSet
from training.cli import app
from training.data.crops import open_set
from training.engine.fit import fit
from training.errors import SetInvalid
from training.evaluation.rounding import draw_held_out
from training.recipe import Roots
from training.tasks.embedding import EMBEDDING

STUDENT = {"kind": "retail", "input_size": 32, "stem": 16, "head": 32, "dim": 16}
SHAPE = {"hidden": [[16, 16], [24], [16]], "outputs": [16, 24, 16]}


def test_each_kind_of_rounding_costs_less_than_all(
    roots: Roots, make_recipe: MakeRecipe, monkeypatch: pytest.MonkeyPatch
) -> None:
    fit(make_recipe(student=STUDENT | SHAPE), EMBEDDING, roots, accelerator="cpu", until=1, progress=False)
    crops = open_set(roots.data / "six").crops[:16]
    monkeypatch.setattr("training.commands.release.draw_held_out", lambda *_: crops)
    words = ["rounding", "tiny", "six", "--count", "16", "--data", str(roots.data), "--runs", str(roots.runs)]
    told = CliRunner().invoke(app, words)
    assert told.exit_code == 0, told.output
    lines = [line for line in told.output.splitlines()[1:] if line.strip()]
    means = {line[15:].strip(): float(line[:6]) for line in lines}
    assert len(means) == 8
    assert all(value > 0 for value in means.values())
    assert max(means, key=means.__getitem__) == "everything"
    assert means["weights, were they in eight"] < means["weights, in seven bits"]


def test_probes_are_held_out(roots: Roots, make_set: MakeSet, tmp_path: Path) -> None:
    with pytest.raises(SetInvalid, match="six holds nothing out"):
        draw_held_out([open_set(roots.data / "six")], 4)
