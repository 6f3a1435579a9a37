"""Costs: counted by hand, and timed in turns."""

import warnings
from pathlib import Path

import pytest
import torch
from torch import nn
from typer.testing import CliRunner

from service.face.manifest import load_manifest
from tests.conftest import STARTER
from training.backbones import STUDENTS
from training.backbones.backbone import Student
from training.backbones.network import build_student, example
from training.cli import app
from training.export.bundle import HERE
from training.export.cost import count, race
from training.tasks.embedding import EmbeddingRecipe
from training.tasks.registry import read_recipe


def test_multiply_adds_by_hand() -> None:
    body = nn.Sequential(nn.Conv2d(3, 8, 3, 2, 1), nn.ReLU(), nn.Conv2d(8, 8, 3, 1, 1, groups=8))
    head = nn.Sequential(nn.Flatten(), nn.Linear(8 * 16, 5))
    cost = count(Student([body], head, input_size=8, dim=5), torch.zeros(1, 3, 8, 8))
    assert cost.multiply_adds == 4 * 4 * 8 * 27 + 4 * 4 * 8 * 9 + 8 * 16 * 5
    assert cost.parameters == 8 * 27 + 8 + 8 * 9 + 8 + 8 * 16 * 5 + 5


def test_the_published_nets_cost_what_is_published() -> None:
    face = torch.zeros(1, 3, 112, 112)
    assert count(STUDENTS["mobileface"](), face).multiply_adds == pytest.approx(221e6, rel=0.03)
    assert count(STUDENTS["iresnet"](depths=(3, 4, 14, 3)), face).multiply_adds == pytest.approx(6.3e9, rel=0.03)


@pytest.mark.parametrize("name", ["facet-m", "facet-s"])
def test_the_bundled_models_cost_what_their_manifests_say(name: str) -> None:
    (path,) = STARTER.glob(f"{name}-*/manifest.json")
    manifest = load_manifest(path)
    recipe = read_recipe(HERE / "recipes" / f"{manifest.name}.yaml")
    assert isinstance(recipe, EmbeddingRecipe)
    cost = count(build_student(recipe.student, recipe.input), example(recipe.input))
    assert (cost.parameters, cost.multiply_adds) == (manifest.cost.parameters, manifest.cost.multiply_adds)


@pytest.mark.parametrize("name", ["mobileface", "mobileid", "rectified", "resnet56", "retail"])
def test_multiply_adds_are_those_of_convolutions_and_dense_layers(name: str) -> None:
    """Every output value of such a layer costs one row of its weights."""
    net, total = STUDENTS[name](), 0

    def add(layer: nn.Module, _inputs: object, output: torch.Tensor) -> None:
        nonlocal total
        total += output.numel() * layer.weight[0].numel()  # type: ignore[operator, index]

    face = torch.zeros(1, 3, net.height, net.width)
    counted = count(net, face).multiply_adds
    for layer in net.modules():
        if isinstance(layer, nn.Conv2d | nn.Linear):
            layer.register_forward_hook(add)
    net(face)
    assert counted == total


def write(net: nn.Module, path: Path, free: dict[int, str] | None = None) -> Path:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)
        torch.onnx.export(
            net.eval(),
            (torch.zeros(1, 3, 48, 48),),
            path,
            dynamo=False,
            input_names=["input"],
            dynamic_axes={"input": free or {}},
        )
    return path


def test_a_larger_net_takes_longer(tmp_path: Path) -> None:
    paths = {
        name: write(nn.Sequential(nn.Conv2d(3, width, 3), nn.ReLU(), nn.Conv2d(width, width, 3)), tmp_path / name)
        for name, width in (("small", 4), ("large", 96))
    }
    timings = race(paths, turns=3)
    assert list(timings) == ["small", "large"]
    assert timings["large"].best > 3 * timings["small"].best
    assert all(0 < t.best <= t.median for t in timings.values())


def test_an_input_of_free_size_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = write(nn.Conv2d(3, 4, 3), tmp_path / "free", free={2: "height"})
    with pytest.raises(ValueError, match="no image of fixed size"):
        race({"free": path})
    monkeypatch.setattr("training.commands.measure.yardstick", lambda _: path)  # takes long to write
    ended = CliRunner().invoke(app, ["cost", str(path), "--runs", str(tmp_path), "--turns", "1"])
    assert ended.exit_code == 1
    assert "model_invalid" in ended.output
