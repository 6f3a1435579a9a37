from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from service.face.errors import ModelNotFound
from service.face.model_import import add_model, read_spec
from service.face.registry import Registry
from service.face.session import ModelSession
from training.engine.checkpoint import load_checkpoint
from training.engine.fit import fit
from training.errors import CheckpointInvalid, InitialisationFailed, RecipeInvalid, SetMissing, TeacherMismatch
from training.recipe import Roots, read_mapping, validate
from training.tasks.detection.composites import Sources
from training.tasks.detection.export import NAMES
from training.tasks.detection.networks.student import DetectorStudent
from training.tasks.detection.task import DETECTOR, DetectorRecipe, DetectorTask, kept_graph
from training.tasks.detection.teacher import open_detector
from training.tasks.detection.tiles import write_tiles

RECIPE: dict[str, Any] = {
    "name": "small",
    "task": "detector",
    "seed": 3,
    "tiles": "tiles",
    "teacher": "random",
    "crop": 64,
    "student": {"kind": "separable", "stem": [8, 8], "width": 16, "blocks": [0, 1, 0, 0]},
    "schedule": {"peak": 0.01, "batch": 4, "steps": 40, "clip": 5.0, "ema": 0.9},
}


@pytest.fixture(scope="module")
def roots(tmp_path_factory: pytest.TempPathFactory, sources: Sources, random_graph: Path) -> Roots:
    root = tmp_path_factory.mktemp("roots")
    write_tiles(root / "data" / "tiles", sources, seed=2, count=12, size=96)
    spec = read_spec("yunet").model_copy(update={"name": "random", "sha256": None})
    add_model(random_graph, spec, root / "models")
    rgb = spec.input.model_copy(update={"colour": "RGB"})
    add_model(random_graph, spec.model_copy(update={"name": "rgb", "input": rgb}), root / "models")
    return Roots(root / "data", root / "models", root / "runs")


def recipe(**changes: Any) -> DetectorRecipe:
    return validate(DetectorRecipe, {**RECIPE, **changes}, "test")


def loss_of(task: DetectorTask) -> float:
    """The summed loss on one fixed batch."""
    batch = task.source.batch(np.arange(12), np.random.default_rng(0))
    with torch.no_grad():
        return sum(value.item() for value in task.eval()({k: torch.from_numpy(v) for k, v in batch.items()}).values())


def test_a_short_fit_comes_closer_to_the_teacher(roots: Roots) -> None:
    """The training loop itself, on real pictures, against a graph whose answers vary from cell to cell."""
    folder = fit(recipe(), DETECTOR, roots, accelerator="cpu", progress=False)
    checkpoint = load_checkpoint(folder)
    torch.manual_seed(3)
    task = DetectorTask(recipe(), roots)
    before = loss_of(task)
    task.load_state_dict(dict(checkpoint.best))
    assert loss_of(task) < 0.75 * before
    digest = open_detector(Registry.scan([roots.models]), "random").digest
    assert set(checkpoint.facts["teachers"].values()) == {digest}

    exported = DETECTOR.restore(recipe(), checkpoint.best)
    assert exported.outputs == NAMES
    with torch.no_grad():
        heads = dict(zip(NAMES, exported.module(exported.example), strict=True))
    assert heads["kps_16"].shape == (1, 16 * 20, 10)
    assert not exported.module.training


def test_only_the_student_is_trained_and_saved(roots: Roots) -> None:
    task = DetectorTask(recipe(), roots)
    assert all(name.startswith("student.") for name in task.state_dict())


def test_a_checkpoint_of_another_network(roots: Roots) -> None:
    with pytest.raises(CheckpointInvalid, match="does not fit"):
        DETECTOR.restore(recipe(), DetectorStudent().state_dict(prefix="student."))


@pytest.mark.parametrize(
    ("changes", "error", "says"),
    [
        ({"teacher": "missing"}, ModelNotFound, "random"),
        ({"teacher": "rgb"}, TeacherMismatch, "BGR"),
        ({"tiles": "missing"}, SetMissing, "missing"),
        ({"crop": 65}, RecipeInvalid, "multiple of 32"),
        ({"student": {"kind": "tapered"}, "init": {"kind": "teacher"}}, InitialisationFailed, "no YuNet-n"),
        ({"student": {"kind": "tapered"}, "init": {"kind": "weights", "weights": "no/such"}}, SetMissing, "such.onnx"),
    ],
)
def test_what_a_recipe_may_get_wrong(roots: Roots, changes: dict[str, Any], error: type[Exception], says: str) -> None:
    with pytest.raises(error, match=says):
        DetectorTask(recipe(**changes), roots)


def test_only_a_tapered_student_inherits() -> None:
    with pytest.raises(RecipeInvalid, match="choose init random"):
        recipe(init={"kind": "teacher"})


def test_a_tapered_student_is_built_and_restored(roots: Roots) -> None:
    chosen = recipe(student={"kind": "tapered", "waist": 16, "extra": [0, 1, 0]})
    task = DetectorTask(chosen, roots)
    exported = DETECTOR.restore(chosen, task.state_dict())
    with torch.no_grad():
        heads = dict(zip(NAMES, exported.module(exported.example), strict=True))
    assert heads["cls_32"].shape == (1, 8 * 10, 1)


def test_an_unknown_key_is_named() -> None:
    with pytest.raises(RecipeInvalid, match="colour"):
        recipe(colour="red")


def test_a_detector_goes_on_from_kept_weights(roots: Roots) -> None:
    """Without a step it is the kept graph."""
    chosen = recipe(
        student={"kind": "tapered", "waist": 32, "extra": [1, 2, 1]},
        init={"kind": "weights", "weights": "facet-detector/first"},
    )
    module = DETECTOR.restore(chosen, DetectorTask(chosen, roots).state_dict()).module
    view = np.random.default_rng(0).uniform(0, 255, (1, 3, 64, 96)).astype(np.float32)
    with torch.no_grad():
        mine = dict(zip(NAMES, module(torch.from_numpy(view)), strict=True))
    kept = ModelSession(kept_graph("facet-detector/first")).run(view)
    assert all(np.allclose(mine[name].numpy(), kept[name], atol=1e-3) for name in NAMES)


@pytest.mark.parametrize("name", ["detector", "detector-second", "detector-third", "detector-fourth"])
def test_the_published_recipes_are_valid(name: str) -> None:
    path = Path(__file__).parents[4] / "training" / "recipes" / f"{name}.yaml"
    published = validate(DetectorRecipe, read_mapping(path), str(path))
    assert published.task == "detector"
    assert published.init.kind != "weights" or kept_graph(published.init.weights).is_file()
