"""Rounding for 8-bit arithmetic: what torch sees while it trains is what the exported graph computes."""

import logging
from pathlib import Path

import numpy as np
import pytest
import torch
from torch.nn import functional as F

from service.face.session import ModelSession
from training.backbones.backbone import Student
from training.backbones.eight_bits.equalise import equalise
from training.backbones.eight_bits.ranges import find_ranges, name_ranges, places, round_activation
from training.backbones.eight_bits.rounding import EightBits, round_weight
from training.backbones.mobileface import mobileface
from training.backbones.retail import retail
from training.engine.task import Exported
from training.errors import ExportFailed
from training.export.graphs import write_fp32, write_int8


def small() -> Student:
    torch.manual_seed(3)
    return retail(32, stem=16, hidden=((16, 16), (24, 24), (16,)), outputs=(16, 24, 16), head=32, dim=16).eval()


@pytest.fixture(scope="module")
def pixels() -> torch.Tensor:
    return torch.randn(48, 3, 32, 32, generator=torch.Generator().manual_seed(0))


def test_a_weight_keeps_its_greatest_value_and_has_few_others() -> None:
    weight = torch.randn(4, 8, 3, 3, generator=torch.Generator().manual_seed(0))
    rounded = round_weight(weight)
    top = weight.abs().amax((1, 2, 3))
    torch.testing.assert_close(rounded.abs().amax((1, 2, 3)), top)
    steps = rounded / (top / 64).view(-1, 1, 1, 1)
    torch.testing.assert_close(steps, steps.round(), rtol=0, atol=1e-3)
    assert float((rounded - weight).abs().max()) <= float(top.max()) / 128 + 1e-6


def test_gradients_pass_the_rounding_and_stop_beyond_the_range() -> None:
    x = torch.tensor([-3.0, -0.5, 0.2, 9.0], requires_grad=True)
    round_activation(x, -1.0, 2.0).sum().backward()
    assert x.grad is not None
    assert x.grad.tolist() == [0.0, 1.0, 1.0, 0.0]


def test_a_range_is_from_the_least_to_the_greatest_value(pixels: torch.Tensor) -> None:
    net = small()
    ranges = find_ranges(net, pixels)
    outputs: list[torch.Tensor] = []
    hook = net.stages[1][0].expand.register_forward_hook(lambda _m, _i, y: outputs.append(y))  # type: ignore[index]
    net(pixels)
    hook.remove()
    found = name_ranges(net, ranges)
    x = outputs[0].detach()
    assert found["stages.1.0.expand"] == pytest.approx((float(x.min()), float(x.max())), rel=1e-5)
    assert found["stages.1.0.excite.gate"][0] == 0, "zero is among the steps"
    assert found["stages.1.0.excite.pool"] == found["stages.1.0.project"], "a mean is rounded as what it is the mean of"


def test_measuring_leaves_the_student_as_it_was(pixels: torch.Tensor) -> None:
    net = small().train()
    torch.testing.assert_close(find_ranges(net, pixels), find_ranges(net, pixels), rtol=0, atol=0)
    assert net.training
    assert not net.stages[1][0].expand._forward_hooks  # type: ignore[index]


@torch.no_grad()
def test_training_rounds_as_the_exported_graph_does(pixels: torch.Tensor, tmp_path: Path) -> None:
    net = small()
    equalise(net, pixels)
    ranges, plain = find_ranges(net, pixels), net(pixels)
    rounded = EightBits(net).features(pixels, ranges).embedding
    torch.testing.assert_close(net(pixels), plain, rtol=0, atol=0)  # its own weights and outputs stay as they are
    write_fp32(Exported(net, pixels[:1], ("embedding",)), tmp_path / "a.onnx")
    write_int8(tmp_path / "a.onnx", tmp_path / "b.onnx", pixels.numpy(), name_ranges(net, ranges))
    session = ModelSession(tmp_path / "b.onnx")
    graph = torch.from_numpy(np.concatenate([session.run(one.numpy()[None])["embedding"] for one in pixels]))
    lost = 1 - F.cosine_similarity(graph, plain).mean()
    unexplained = 1 - F.cosine_similarity(graph, rounded).mean()
    assert float(unexplained) < 0.25 * float(lost)


def test_training_brings_the_rounded_student_nearer_to_what_it_was(pixels: torch.Tensor) -> None:
    net = small()
    equalise(net, pixels)
    with torch.no_grad():
        wanted, ranges = net(pixels), find_ranges(net, pixels)
    bits, losses = EightBits(net), []
    optimiser = torch.optim.Adam(net.parameters(), lr=3e-4)
    for _ in range(30):
        loss = (1 - F.cosine_similarity(bits.features(pixels, ranges).embedding, wanted)).mean()
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
        losses.append(float(loss.detach()))
    assert losses[-1] < 0.8 * losses[0]


def test_nothing_is_said_of_networks_that_normalise() -> None:
    assert not places(mobileface(32))


def test_a_range_of_what_the_graph_has_not_is_refused(
    pixels: torch.Tensor, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO)
    net = small()
    write_fp32(Exported(net, pixels[:1], ("embedding",)), tmp_path / "a.onnx")
    with pytest.raises(ExportFailed, match=r"stages\.9"):
        write_int8(tmp_path / "a.onnx", tmp_path / "b.onnx", pixels.numpy(), {"stages.9.expand": (0.0, 1.0)})
    assert logging.getLogger().level == logging.INFO, "others may write to the root logger again"
