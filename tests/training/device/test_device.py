"""A pack is written, trained for two steps on the CPU by the script that runs on a device, and taken back."""

import json
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch

from service.face.embedding.preprocess import to_tensor
from service.face.manifest import InputSpec
from tests.conftest import ROOT
from tests.training.conftest import INPUT, MakeRecipe, MakeSet
from tests.training.tasks.test_confidence import TERM
from training.backbones.network import restore_student
from training.data.augment import Augment
from training.data.crops import open_set
from training.device.accept import accept
from training.device.augment import DeviceAugment
from training.device.fit_pack import Run, measure, read_crops
from training.device.pack import only_teacher, write_pack
from training.distillation.teacher_targets import compute_targets
from training.distillation.teachers import RunTeacher, open_teacher
from training.engine.checkpoint import load_checkpoint
from training.engine.fit import fit
from training.errors import CheckpointInvalid, RecipeInvalid
from training.recipe import Roots
from training.tasks.embedding import EMBEDDING, EmbeddingRecipe
from training.tasks.registry import read_recipe

CPU = torch.device("cpu")


@pytest.fixture(scope="module")
def roots(tmp_path_factory: pytest.TempPathFactory, make_set: MakeSet, make_recipe: MakeRecipe) -> Roots:
    root = tmp_path_factory.mktemp("device")
    roots = Roots(root / "data", root / "models", root / "runs")
    roots.models.mkdir()
    make_set(roots.data / "six", each=20)
    fit(make_recipe(name="teacher"), EMBEDDING, roots, accelerator="cpu", progress=False)
    return roots


@pytest.fixture(scope="module")
def recipe(make_recipe: MakeRecipe) -> EmbeddingRecipe:
    return make_recipe(
        name="packed",
        head={"kind": "none"},
        teachers={"t": {"kind": "run", "run": "teacher"}},
        init={"kind": "checkpoint", "run": "teacher", "minimum": 1.0},
        terms=[TERM],
    )


@pytest.fixture(scope="module")
def pack(roots: Roots, recipe: EmbeddingRecipe) -> Path:
    folder = roots.runs / "pack"
    assert write_pack(recipe, roots, folder, part_mib=0.25) > 1
    return folder


def test_parts_keep_to_their_size_and_hold_every_crop_with_its_target(pack: Path, roots: Roots) -> None:
    sizes = [path.stat().st_size for path in pack.glob("part-*.npz")]
    assert max(sizes) <= 0.25 * 2**20
    crops = read_crops(pack, CPU)
    six = open_set(roots.data / "six")
    assert len(crops.pixels) == len(six) == 120
    teacher = open_teacher("t", RunTeacher(kind="run", run="teacher"), roots).embeds
    targets = np.asarray(compute_targets(roots.runs / "targets", teacher, six, progress=False))
    nearest = (crops.targets.numpy() @ targets.T).argmax(axis=1)
    assert sorted(nearest) == list(range(120))
    likeness = np.abs(crops.pixels.permute(0, 2, 3, 1).numpy().astype(int) - six.crops[nearest]).mean()
    assert likeness < 4, "what travels looks like what was packed"


def test_two_steps_there_are_a_run_here(pack: Path, roots: Roots, recipe: EmbeddingRecipe, tmp_path: Path) -> None:
    words = ["-m", "training.device.fit_pack", str(pack), "--out", str(tmp_path), "--seconds", "300", "--steps", "2"]
    environment = os.environ | {"OMP_NUM_THREADS": "1", "PYTHONWARNINGS": "error"}
    done = subprocess.run(
        [sys.executable, *words, "--batch", "16", "--eager"],
        env=environment,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert json.loads((tmp_path / "fit.json").read_text())["crops"] == 32
    assert all(path.stat().st_size <= 16 * 2**20 for path in tmp_path.iterdir())
    run = accept(pack, tmp_path, roots)
    checkpoint = load_checkpoint(run)
    assert checkpoint.step == 2
    assert checkpoint.read_recipe(EmbeddingRecipe) == recipe
    student, _ = restore_student(checkpoint)
    with np.load(tmp_path / "student.npz") as back, np.load(pack / "start.npz") as start:
        np.testing.assert_allclose(student.state_dict()[back.files[0]], back[back.files[0]])
        assert any((back[name] != start[name]).any() for name in back.files)
    assert fit(recipe, EMBEDDING, roots, accelerator="cpu", progress=False) == run, "it is finished"
    whole = (tmp_path / "student.npz").read_bytes()
    (tmp_path / "student.npz").write_bytes(whole[:-100])
    with pytest.raises(CheckpointInvalid, match="gives back"):
        accept(pack, tmp_path, roots)
    (tmp_path / "student.npz").write_bytes(whole)
    (tmp_path / "fit.json").write_text("{}")
    with pytest.raises(CheckpointInvalid, match="gives back"):
        accept(pack, tmp_path, roots)
    (tmp_path / "fit.json").unlink()
    with pytest.raises(CheckpointInvalid, match="gives back"):
        accept(pack, tmp_path, roots)


@pytest.mark.parametrize("change", [{"width": 48, "height": 48}, {"region": (8, 0, 104, 112), "colour": "BGR"}])
def test_a_crop_without_augmentation_is_what_serving_sees(change: dict[str, object], roots: Roots) -> None:
    pixels = InputSpec.model_validate(INPUT | {"width": 96, "height": 96, "resample": "linear"} | change)
    crops = np.array(open_set(roots.data / "six").crops[:8])
    device = DeviceAugment({}, pixels.model_dump(), CPU)
    given = device.clean(torch.from_numpy(crops).permute(0, 3, 1, 2))
    np.testing.assert_allclose(given, to_tensor(crops, pixels), atol=1.1 / 127.5)


def test_every_degradation_changes_crops_and_keeps_them_in_range(roots: Roots) -> None:
    crops = torch.from_numpy(np.array(open_set(roots.data / "six").crops[:16])).permute(0, 3, 1, 2)
    pixels = InputSpec.model_validate(INPUT | {"width": 96, "height": 96, "resample": "linear"}).model_dump()
    still = Augment().model_dump()
    plain = DeviceAugment(still, pixels, CPU)(crops)
    kinds = ("flip", "roll", "motion", "blur", "noise", "dark", "mask", "jpeg", "grey", "low_resolution", "occlusion")
    for name in kinds:
        changed = DeviceAugment(still | {name: 1.0}, pixels, CPU)(crops)
        assert (changed - plain).abs().mean() > 0.005, name
        assert changed.abs().max() <= 1 + 1e-4, name


ALONE = """
import sys

class Absent:  # as on a machine with PyTorch, NumPy and Pillow
    def find_spec(self, name, path=None, target=None):
        if name.partition(".")[0] in ("onnx", "onnxruntime", "cv2", "pydantic", "yaml", "lightning", "tqdm", "service"):
            raise ModuleNotFoundError(name=name)

sys.meta_path.insert(0, Absent())
import training.device.fit_pack
"""


def test_the_script_needs_nothing_but_pytorch_numpy_and_pillow() -> None:
    done = subprocess.run([sys.executable, "-c", ALONE], cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr


@pytest.mark.parametrize("name", ["facet-m", "facet-s"])
def test_the_recipes_that_the_documents_pack_are_packed(name: str) -> None:
    recipe = read_recipe(ROOT / "training" / "recipes" / f"{name}.yaml")
    assert isinstance(recipe, EmbeddingRecipe)
    assert only_teacher(recipe) == "pair"


def test_the_loss_there_is_the_loss_here(make_recipe: MakeRecipe) -> None:
    terms = [TERM | {"distance": {"kind": "cosine", "power": 2}}, TERM | {"distance": {"kind": "relations"}}]
    terms[1]["weight"] = 7.0
    recipe = make_recipe(head={"kind": "none"}, teachers={"t": {"kind": "dlib"}}, terms=terms)
    given, wanted = torch.randn(2, 6, 8, generator=torch.Generator().manual_seed(0))
    here = [spec.weight * spec.distance.measure(given, wanted, torch.zeros(6)) for spec in recipe.terms]
    there = measure(given, wanted, json.loads(recipe.model_dump_json())["terms"])
    torch.testing.assert_close(there, torch.stack(here).sum())


@pytest.mark.parametrize(
    "change",
    [
        {"adapter": {"kind": "linear"}},
        {"target": {"kind": "concat", "teachers": ["t"]}},
        {"distance": {"kind": "mse"}},
    ],
    ids=str,
)
def test_a_term_that_is_not_taught_there_is_refused(make_recipe: MakeRecipe, change: dict[str, object]) -> None:
    with pytest.raises(RecipeInvalid, match="nothing else"):
        only_teacher(make_recipe(head={"kind": "none"}, teachers={"t": {"kind": "dlib"}}, terms=[TERM | change]))


def test_a_run_that_was_trained_here_is_not_overwritten(roots: Roots, make_recipe: MakeRecipe, tmp_path: Path) -> None:
    own = roots.runs / "teacher" / "checkpoint.pt"
    before = own.read_bytes()
    (tmp_path / "pack.json").write_text(make_recipe(name="teacher").model_dump_json())
    with pytest.raises(CheckpointInvalid, match="was trained here"):
        accept(tmp_path, tmp_path, roots)
    assert own.read_bytes() == before


def test_weights_that_are_not_finite_are_not_written(pack: Path, tmp_path: Path) -> None:
    told = json.loads((pack / "pack.json").read_text())
    run = Run(told, pack, CPU, 1e-3, 0.9)
    run.save(tmp_path, 0.5)
    before = {path.name: path.read_bytes() for path in tmp_path.iterdir()}
    assert set(before) == {"student.npz", "resume.pt", "fit.json"}
    next(iter(run.average.values())).fill_(float("nan"))
    with pytest.raises(SystemExit, match="not finite"):
        run.save(tmp_path, 0.5)
    assert {path.name: path.read_bytes() for path in tmp_path.iterdir()} == before


def test_a_recipe_that_teaches_more_than_an_embedding_is_refused(roots: Roots, make_recipe: MakeRecipe) -> None:
    with pytest.raises(RecipeInvalid, match="nothing else"):
        write_pack(make_recipe(), roots, roots.runs / "other")
