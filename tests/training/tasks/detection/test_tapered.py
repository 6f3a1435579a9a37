"""The tapered student, and how it inherits its teacher's weights."""

import itertools
import warnings
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from service.face.session import ModelSession
from tests.conftest import SHARED
from training.errors import InitialisationFailed
from training.tasks.detection.export import export_detector
from training.tasks.detection.networks.inherit import HEADS, choose_channels, inherit, read_yunet, resume
from training.tasks.detection.networks.student import ROW
from training.tasks.detection.networks.tapered import WIDTH, Extra, TaperedStudent


class PublishedLayout(nn.Module):
    """A whole student that computes its heads one by one and scales no pixels, as the published graph does."""

    def __init__(self, whole: TaperedStudent) -> None:
        super().__init__()
        self.whole = whole

    def forward(self, x: Tensor) -> Tensor:
        seen: list[Tensor] = []
        for neck in self.whole.neck:
            neck.register_forward_hook(lambda module, given, found: seen.append(found))
        self.whole.levels(x)
        heads = []
        for part in HEADS:
            for head, features in zip(self.whole.heads, seen, strict=True):
                y = F.conv2d(features, head.pointwise.weight[part], head.pointwise.bias[part])
                y = F.conv2d(y, head.depthwise.weight[part], head.depthwise.bias[part], padding=1, groups=y.shape[1])
                heads.append(y.flatten(1))
        return torch.cat(heads, 1)


@pytest.fixture(scope="module")
def whole() -> TaperedStudent:
    torch.manual_seed(4)
    return TaperedStudent(WIDTH, (0, 0, 0)).eval()


@pytest.fixture(scope="module")
def graph(tmp_path_factory: pytest.TempPathFactory, whole: TaperedStudent) -> Path:
    """Random weights in the layout of the published graph."""
    path = tmp_path_factory.mktemp("graphs") / "yunet.onnx"
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        torch.onnx.export(
            PublishedLayout(whole).eval(), (torch.zeros(1, 3, 64, 64),), path, dynamo=False, opset_version=17
        )
    return path


@pytest.fixture(scope="module")
def pixels() -> Tensor:
    return torch.from_numpy(np.random.default_rng(0).uniform(0, 255, (2, 3, 64, 96)).astype(np.float32))


def test_a_whole_student_becomes_its_teacher(graph: Path, whole: TaperedStudent, pixels: Tensor) -> None:
    """Weights are found again in the graph, tensor by tensor, and new residual units change nothing."""
    student = TaperedStudent(WIDTH, (1, 2, 1)).eval()
    inherit(student, graph, pixels)
    with torch.no_grad():
        torch.testing.assert_close(student(pixels), whole(pixels), rtol=1e-4, atol=1e-4)


def test_a_thinner_student_comes_near_its_teacher(graph: Path, whole: TaperedStudent, pixels: Tensor) -> None:
    """The more channels are kept the nearer, and far nearer than one that kept the first channels as they are."""

    def gap(student: TaperedStudent) -> float:
        with torch.no_grad():
            taught, own = (net.stride4(net.enter(pixels)) for net in (whole, student.eval()))
        return float((own - taught).norm() / taught.norm())

    gaps = []
    for waist in (60, 48, 32):
        student = TaperedStudent(waist)
        inherit(student, graph, pixels)
        gaps.append(gap(student))
    assert gaps == sorted(gaps)
    cut = TaperedStudent(48)
    cut.load_state_dict(
        {n: t[tuple(map(slice, cut.state_dict()[n].shape))] for n, t in whole.state_dict().items()}, False
    )
    assert gaps[1] < gap(cut) / 2


def test_a_graph_of_another_shape_is_refused(random_graph: Path, pixels: Tensor) -> None:
    with pytest.raises(InitialisationFailed, match="no YuNet-n"):
        inherit(TaperedStudent(), random_graph, pixels)


def test_rows_of_every_stride() -> None:
    with torch.no_grad():
        assert TaperedStudent()(torch.zeros(2, 3, 64, 96)).shape == (2, 8 * 12 + 4 * 6 + 2 * 3, ROW)


def test_a_residual_unit_learns_although_it_starts_at_nothing() -> None:
    torch.manual_seed(0)
    unit, x = Extra(8), torch.rand(1, 8, 4, 4)
    torch.testing.assert_close(unit(x), x)
    unit(x).square().sum().backward()
    assert unit.unit.depthwise.weight.grad.abs().sum() > 0


def test_channels_that_follow_from_others_cost_nothing() -> None:
    rng = np.random.default_rng(0)
    free = rng.normal(size=(500, 3))
    mixed = np.stack([free[:, 0], 2 * free[:, 0] - free[:, 1], free[:, 1], free[:, 2]], 1)
    rows = np.concatenate([mixed, np.ones((500, 1))], 1)
    weight = rng.normal(size=(6, 5))
    kept, solved = choose_channels(rows, weight, 3)
    assert 3 in kept
    assert list(kept) == sorted(kept)
    np.testing.assert_allclose(rows[:, [*kept, 4]] @ solved.T, rows @ weight.T, atol=1e-3)


def test_the_choice_is_nearly_the_best_there_is() -> None:
    rng = np.random.default_rng(1)
    rows = np.concatenate([np.maximum(rng.normal(size=(400, 8)) @ rng.normal(size=(8, 8)), 0), np.ones((400, 1))], 1)
    weight = rng.normal(size=(5, 9))

    def error(kept: tuple[int, ...]) -> float:
        columns = rows[:, [*kept, 8]]
        solved = np.linalg.lstsq(columns, rows @ weight.T, rcond=None)[0]
        return float(np.square(columns @ solved - rows @ weight.T).sum())

    errors = sorted(error(kept) for kept in itertools.combinations(range(8), 4))
    kept, _ = choose_channels(rows, weight, 4)
    assert error(tuple(kept)) <= errors[len(errors) // 20]


@pytest.mark.data
def test_the_published_network_is_read_exactly() -> None:
    path = SHARED / "models" / "yunet_n_dynamic.onnx"
    pixels = np.random.default_rng(2).uniform(0, 255, (1, 3, 128, 96)).astype(np.float32)
    found = ModelSession(path).run(pixels)
    with torch.no_grad():
        rows = read_yunet(path)(torch.from_numpy(pixels)).numpy()
    expected = np.concatenate([np.concatenate([found[f"{h}_{s}"] for h in ("bbox", "kps")], 2) for s in (8, 16, 32)], 1)
    np.testing.assert_allclose(rows[..., 2:], expected, atol=1e-4)
    scores = np.concatenate([np.concatenate([found[f"{h}_{s}"] for h in ("cls", "obj")], 2) for s in (8, 16, 32)], 1)
    np.testing.assert_allclose(1 / (1 + np.exp(-rows[..., :2])), scores, atol=1e-5)


def test_a_student_goes_on_from_its_own_graph(tmp_path: Path) -> None:
    torch.manual_seed(3)
    first, second = TaperedStudent(16, (1, 0, 1)), TaperedStudent(16, (1, 0, 1))
    for parameter in first.parameters():
        nn.init.normal_(parameter, std=0.1)
    export_detector(first, tmp_path / "first.onnx")
    resume(second, tmp_path / "first.onnx")
    for name, tensor in first.state_dict().items():
        torch.testing.assert_close(second.state_dict()[name], tensor)
    with pytest.raises(InitialisationFailed, match="not exported"):
        resume(TaperedStudent(16, (0, 0, 0)), tmp_path / "first.onnx")
