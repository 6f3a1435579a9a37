"""A very small student of a very small teacher learns to tell good crops of faces from what is none."""

import json
from pathlib import Path

import numpy as np
import onnxruntime
import pytest
import torch
from numpy.typing import NDArray

from service.face.embedding.preprocess import to_tensor
from tests.training.conftest import MakeRecipe, MakeSet
from training.backbones.confidence import Confident
from training.backbones.network import restore_student
from training.data.crops import open_set
from training.data.no_face import make_no_face
from training.engine.checkpoint import load_checkpoint
from training.engine.fit import fit
from training.errors import CheckpointInvalid, RecipeInvalid
from training.export.export import export
from training.recipe import Roots
from training.tasks.confidence import FILE, fit_confidence, has_confidence, read_confidence
from training.tasks.embedding import EMBEDDING

TERM = {
    "tap": "embedding",
    "adapter": {"kind": "identity"},
    "target": {"kind": "identity", "teacher": "t"},
    "distance": {"kind": "cosine"},
    "weight": 1.0,
}


@pytest.fixture(scope="module")
def roots(tmp_path_factory: pytest.TempPathFactory, make_set: MakeSet, make_recipe: MakeRecipe) -> Roots:
    root = tmp_path_factory.mktemp("confidence")
    roots = Roots(root / "data", root / "models", root / "runs")
    roots.models.mkdir()
    make_set(roots.data / "six", each=40)
    fit(make_recipe(name="teacher"), EMBEDDING, roots, accelerator="cpu", progress=False)
    student = make_recipe(
        name="student",
        head={"kind": "none"},
        teachers={"t": {"kind": "run", "run": "teacher"}},
        init={"kind": "checkpoint", "run": "teacher", "minimum": 1.0},
        terms=[TERM],
    )
    fit(student, EMBEDDING, roots, accelerator="cpu", progress=False)
    return roots


def test_it_is_low_for_what_is_no_face_and_exported_as_a_second_output(roots: Roots, faces: NDArray[np.uint8]) -> None:
    run = roots.runs / "student"
    assert read_confidence(run) is None
    report = fit_confidence(run, roots, crops=240)
    assert json.loads((run / "confidence.json").read_text())["crops"] == report.crops == 24
    assert report.no_face < report.ordinary - 0.2
    assert report.cosine_of_surer_50 >= report.cosine - 0.02

    export(run, [open_set(roots.data / "six")], amount=40)
    student, pixels = restore_student(load_checkpoint(run))
    head = read_confidence(run)
    assert head is not None
    rng = np.random.default_rng(0)
    crops = np.concatenate([faces, np.stack([make_no_face(face, rng) for face in faces])])
    x = to_tensor(crops, pixels)
    with torch.no_grad():
        embedding, confidence = Confident(student, head)(torch.from_numpy(x))
    session = onnxruntime.InferenceSession(run / "export" / "fp32.onnx", providers=["CPUExecutionProvider"])
    assert [output.name for output in session.get_outputs()] == ["embedding", "confidence"]
    given = session.run(None, {"input": x})
    np.testing.assert_allclose(given[0], embedding, atol=1e-4)
    np.testing.assert_allclose(given[1], confidence, atol=1e-4)
    assert given[1].shape == (12, 1)
    assert ((given[1] >= 0) & (given[1] <= 1)).all()
    assert given[1][:6].mean() > given[1][6:].mean() + 0.2
    assert json.loads((run / "export" / "export.json").read_text())["confidence"] == "confidence"

    # of 8-bit arithmetic, too, it falls below every ordinary crop's, those that gave the ranges among them
    eight = onnxruntime.InferenceSession(run / "export" / "int8.onnx", providers=["CPUExecutionProvider"])
    usual = np.asarray(open_set(roots.data / "six").crops)
    lowest = eight.run(["confidence"], {"input": to_tensor(usual, pixels)})[0].min()
    assert eight.run(["confidence"], {"input": x[6:]})[0].min() < lowest - 0.02


def test_a_head_is_of_the_step_that_it_was_taught_at(roots: Roots, make_recipe: MakeRecipe) -> None:
    student = make_recipe(
        name="early", head={"kind": "none"}, teachers={"t": {"kind": "run", "run": "teacher"}}, terms=[TERM]
    )
    run = fit(student, EMBEDDING, roots, accelerator="cpu", progress=False, until=3)
    assert not has_confidence(run)
    fit_confidence(run, roots, crops=64)
    assert has_confidence(run)
    fit(student, EMBEDDING, roots, accelerator="cpu", progress=False)
    assert not has_confidence(run)
    with pytest.raises(CheckpointInvalid, match="after 3 steps of the run, which has gone on to 6"):
        export(run, [open_set(roots.data / "six")], ("fp32",), amount=16)


def test_what_cannot_be_told_is_refused(roots: Roots, tmp_path: Path) -> None:
    with pytest.raises(RecipeInvalid, match="regresses no one teacher"):
        fit_confidence(roots.runs / "teacher", roots)
    (tmp_path / FILE).write_bytes(b"damaged")
    with pytest.raises(CheckpointInvalid, match="facet-train confidence"):
        read_confidence(tmp_path)
