"""The 0095-shaped net: its slopes, its half precision, its published weights."""

import warnings
from pathlib import Path

import numpy as np
import onnx
import onnxruntime
import pytest
import torch
from torch import nn

from training.backbones.eight_bits.equalise import couples, equalise
from training.backbones.retail import Excite, Slope, freeze_slopes, read_retail, retail

PUBLISHED = Path(__file__).parents[4] / "shared" / "models" / "omz_face_reid_retail_0095.onnx"


def test_slopes_are_kept_in_the_state_and_not_trained() -> None:
    net = retail(32)
    slopes = [m for m in net.modules() if isinstance(m, Slope)]
    assert len(slopes) == 48
    assert not any(name.endswith("act1.weight") for name, _ in net.named_parameters())
    assert "stages.1.0.act1.weight" in net.state_dict()


def test_slope_multiplies_what_is_negative() -> None:
    x = torch.tensor([-2.0, 0.0, 3.0])
    assert Slope(-1.5)(x).tolist() == [3.0, 0.0, 3.0]


def test_strided_depthwise_convolutions_run_in_float32_under_autocast() -> None:
    net = retail(32)
    with torch.autocast("cpu", torch.bfloat16):
        block = net.stages[1][0]  # type: ignore[index]
        y = block.depthwise(torch.rand(1, 128, 16, 16, dtype=torch.bfloat16))
    assert y.dtype == torch.float32


def test_first_weights_keep_faces_apart_through_forty_layers() -> None:
    """Nothing normalises in between: with smaller weights every face would give the biases' embedding."""
    torch.manual_seed(0)
    unit = torch.nn.functional.normalize(retail(32).eval()(torch.randn(16, 3, 32, 32)).detach())
    others = (unit @ unit.T)[~torch.eye(16, dtype=torch.bool)]
    assert float(others.max()) < 0.99


def test_hidden_widths_are_free() -> None:
    net = retail(32, hidden=((96, 80), (160,), (256,)), outputs=(64, 128, 128), excite=False)
    assert net(torch.rand(1, 3, 32, 32)).shape == (1, 256)
    assert not any(isinstance(m, Excite) for m in net.modules())


@pytest.mark.parametrize("size", [24, 28, 30, 32])
def test_any_even_input_size_will_do(size: int) -> None:
    net = retail(size, hidden=((8,), (8,), (8,)), outputs=(8, 8, 8), stem=8, head=8, dim=4)
    assert net(torch.rand(1, 3, size, size)).shape == (1, 4)


@torch.no_grad()
def test_equalising_changes_ranges_and_nothing_else() -> None:
    torch.manual_seed(1)
    net = retail(32).eval()
    for couple in couples(net):
        couple.first.weight *= torch.logspace(-1, 1, len(couple.first.weight)).view(-1, 1, 1, 1)
        couple.first.weight /= couple.first.weight.std() * 5
    pixels = torch.randn(4, 3, 32, 32)
    before = net(pixels)
    assert equalise(net, pixels) == 2 + 2 * 15 + 2
    torch.testing.assert_close(net(pixels), before, rtol=1e-3, atol=1e-4)
    hidden = net.stages[2][3].expand  # type: ignore[index]
    ranges: list[torch.Tensor] = []
    hook = hidden.register_forward_hook(lambda _m, _i, y: ranges.append(y.abs().amax((0, 2, 3))))
    net(pixels)
    hook.remove()
    assert float(ranges[0].max() / ranges[0].min()) < 5  # one of the two sides of the activation is at the top


def test_a_foreign_file_is_refused(tmp_path: Path) -> None:
    value = onnx.helper.make_tensor_value_info("x", onnx.TensorProto.FLOAT, [1])
    weight = onnx.numpy_helper.from_array(np.ones(1, np.float32), "w")
    node = onnx.helper.make_node("Add", ["x", "w"], ["y"])
    output = onnx.helper.make_tensor_value_info("y", onnx.TensorProto.FLOAT, [1])
    onnx.save(onnx.helper.make_model(onnx.helper.make_graph([node], "g", [value], [output], [weight])), tmp_path / "a")
    with pytest.raises(ValueError, match="does not hold the weights"):
        read_retail(tmp_path / "a")


@torch.no_grad()
def test_a_slope_is_exported_as_a_constant_leaky_relu() -> None:
    net = nn.Sequential(Slope())
    net.load_state_dict({"0.weight": torch.tensor([-1.5])})
    freeze_slopes(net.eval())
    program = torch.export.export(net, (torch.zeros(1, 2),))
    [call] = [node for node in program.graph.nodes if "leaky_relu" in str(node.target)]
    assert call.args[1:] == (-1.5,)


def test_exporters_write_the_operators_that_run_fast(tmp_path: Path) -> None:
    net = retail(32, hidden=((32,), (32,), (32,)), head=32).eval()
    with pytest.raises(RuntimeError, match="freeze the slopes"):
        torch.export.export(net, (torch.zeros(1, 3, 32, 32),))
    freeze_slopes(net)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)
        torch.onnx.export(net, (torch.zeros(1, 3, 32, 32),), tmp_path / "a.onnx", dynamo=False)
    operators = {node.op_type for node in onnx.load(tmp_path / "a.onnx").graph.node}
    assert {"Conv", "LeakyRelu", "AveragePool"} <= operators
    assert not operators & {"PRelu", "ReduceMean", "Shape"}
    newer = {str(node.target) for node in torch.export.export(net, (torch.zeros(1, 3, 32, 32),)).graph.nodes}
    assert "aten.avg_pool2d.default" in newer


@pytest.mark.data
@torch.no_grad()
def test_published_weights_give_the_published_embedding() -> None:
    net = retail().eval()
    net.load_state_dict(read_retail(PUBLISHED))
    pixels = np.random.default_rng(0).integers(0, 256, (2, 3, 128, 128)).astype(np.float32)
    mean = np.array([64.44161, 67.65716, 82.06874], np.float32).reshape(3, 1, 1)
    scale = np.array([0.01437378, 0.0213623, 0.01864624], np.float32).reshape(3, 1, 1)
    session = onnxruntime.InferenceSession(PUBLISHED)
    expected = session.run(None, {"input": pixels})[0]
    np.testing.assert_allclose(net(torch.from_numpy((pixels - mean) * scale)).numpy(), expected, atol=1e-4)


def test_a_negative_slope_is_trained_through() -> None:
    student = retail(32, stem=8, hidden=((8,), (16,), (16,)), outputs=(8, 8, 8), head=16, dim=6).train()
    for module in student.modules():
        if isinstance(module, Slope):
            module.weight.fill_(-0.1)
    student.train()(torch.randn(2, 3, 32, 32)).square().sum().backward()
    assert all(p.grad is not None and p.grad.isfinite().all() for p in student.parameters())
