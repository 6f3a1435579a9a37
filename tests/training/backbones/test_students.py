"""What holds for every student of the registry, and the published sizes."""

import inspect
from collections.abc import Callable
from typing import Any

import pytest
import torch

from training.backbones import STUDENTS
from training.backbones.backbone import Student

SMALL = {
    "iresnet100": {"input_size": 16, "dim": 8},
    "iresnet": {"input_size": 16, "width": 0.25},
    "mobileface": {"input_size": 32},
    "mobileface_r": {"input_size": 32},
    "rectified": {"input_size": 48},
    "resnet": {"input_size": 16, "width": 0.25},
    "resnet56": {"input_size": 16},
    "retail": {"input_size": 32},
    "mobileid": {},
}


def millions(build: Callable[..., Student], *args: Any, **options: Any) -> float:
    with torch.device("meta"):  # sizes need no values
        return sum(p.numel() for p in build(*args, **options).parameters()) / 1e6


@pytest.fixture(scope="module", params=sorted(STUDENTS))
def student(request: pytest.FixtureRequest) -> Student:
    torch.manual_seed(0)
    return STUDENTS[request.param](**SMALL[request.param]).eval()


@torch.no_grad()
def test_features_and_tails_agree_with_the_forward_pass(student: Student) -> None:
    x = torch.rand(2, 3, student.height, student.width)
    embedding, stages = student.features(x)
    assert embedding.shape == (2, student.dim)
    assert len(stages) == len(student.stages) >= 3
    torch.testing.assert_close(student(x), embedding)
    for number, stage in enumerate(stages):
        assert stage.ndim == 4
        torch.testing.assert_close(student.tail(stage, after=number), embedding)


@torch.no_grad()
def test_faces_of_a_batch_do_not_touch_each_other(student: Student) -> None:
    x = torch.rand(3, 3, student.height, student.width)
    torch.testing.assert_close(student(x)[1:2], student(x[1:2]), atol=1e-4, rtol=1e-4)


def test_every_weight_learns(student: Student) -> None:
    student.train()
    student.zero_grad()
    student(torch.rand(4, 3, student.height, student.width)).square().sum().backward()
    assert [name for name, p in student.named_parameters() if p.grad is None] == []


@pytest.mark.parametrize("name", sorted(STUDENTS))
def test_options_are_named_and_have_defaults(name: str) -> None:
    parameters = inspect.signature(STUDENTS[name]).parameters.values()
    assert all(p.default is not p.empty for p in parameters)


@pytest.mark.parametrize(
    ("name", "published", "within"),
    [
        ("mobileface", 0.99, 0.02),
        ("mobileface_r", 3.73, 0.03),
        ("iresnet100", 65.15, 0.01),
        ("mobileid", 1.18, 0.005),
        ("retail", 1.107, 0.0005),
    ],
)
def test_published_parameter_counts(name: str, published: float, within: float) -> None:
    assert millions(STUDENTS[name]) == pytest.approx(published, abs=within)


def test_residual_families_have_their_published_sizes() -> None:
    without_embedding = [millions(STUDENTS["resnet"], dim=1), millions(STUDENTS["resnet56"], dim=1)]
    assert without_embedding == pytest.approx([11.17, 0.85], abs=0.01)
    assert millions(STUDENTS["iresnet"], depths=(3, 4, 14, 3)) == pytest.approx(43.6, abs=0.05)


def test_width_scales_the_plain_and_ir_families() -> None:
    for name in ("resnet", "iresnet", "mobileface"):
        narrow, wide = (millions(STUDENTS[name], 32, width=width, dim=8) for width in (0.25, 0.5))
        assert 3 < wide / narrow < 4.2


def test_slopes_that_are_kept_are_not_trained_and_begin_as_trained_ones_do() -> None:
    torch.manual_seed(0)
    trained = STUDENTS["mobileface"](input_size=32, width=0.25, dim=8)
    kept = STUDENTS["mobileface"](input_size=32, width=0.25, dim=8, trained_slopes=False)
    assert not [m for m in kept.modules() if isinstance(m, torch.nn.PReLU)]
    assert len(list(kept.parameters())) < len(list(trained.parameters()))
    own = kept.state_dict()
    shared = {name: tensor for name, tensor in trained.state_dict().items() if tensor.shape == own[name].shape}
    kept.load_state_dict(own | shared)
    x = torch.randn(2, 3, 32, 32)
    torch.testing.assert_close(kept.eval()(x), trained.eval()(x))
