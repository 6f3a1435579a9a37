"""A run on two devices, which here are two processes, as the documents start it."""

import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from tests.conftest import ROOT
from tests.training.conftest import MakeRecipe, MakeSet
from tests.waiting import PATIENCE
from training.engine.checkpoint import load_checkpoint
from training.engine.fit import fit
from training.recipe import Roots
from training.tasks.embedding import EMBEDDING

pytestmark = pytest.mark.slow
DEVICES = ["-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2", "-m", "training.cli"]


def test_two_devices_share_one_run_and_its_targets(
    roots: Roots, make_recipe: MakeRecipe, make_set: MakeSet, tmp_path: Path
) -> None:
    """Nobody computed the targets before: one does, and the other finds them."""
    make_set(roots.data / "six", each=24)
    fit(make_recipe(name="teacher"), EMBEDDING, roots, accelerator="cpu", progress=False)
    term = {"tap": "embedding", "target": {"kind": "identity", "teacher": "t"}, "distance": {"kind": "cosine"}}
    recipe = make_recipe(
        name="shared",
        head={"kind": "none"},
        teachers={"t": {"kind": "run", "run": "teacher"}},
        terms=[term],
        schedule={"peak": 1e-3, "batch": 12, "steps": 2},
    )
    path = tmp_path / "shared.yaml"
    path.write_text(recipe.model_dump_json())  # which is YAML, too
    folders = [f"--data={roots.data}", f"--models={roots.models}", f"--runs={roots.runs}"]
    done = subprocess.run(
        [sys.executable, *DEVICES, "fit", str(path), *folders, "--accelerator", "cpu"],
        cwd=ROOT,
        env=os.environ | {"OMP_NUM_THREADS": "1"},
        capture_output=True,
        text=True,
        timeout=PATIENCE,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert load_checkpoint(roots.runs / "shared").step == 2
    (targets,) = (roots.runs / "targets").iterdir()
    np.testing.assert_allclose(np.linalg.norm(np.load(targets), axis=1), 1, rtol=1e-4)
