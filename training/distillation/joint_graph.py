"""Several embedders as one ONNX graph: their own crops cut inside it, their unit vectors weighted and joined.

The graph takes the square of the canonical crop that all members' regions lie in, RGB, one value a pixel. For each
member it cuts the member's region out, scales it, orders the channels, normalises, runs the member's own graph, and
brings its embedding to unit length. The weighted vectors are joined end to end and, where a projection is given,
multiplied with it. So an inner product of two outputs is the weighted mean of the members' cosines, as far as the
projection keeps it.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import ModelProto, TensorProto, compose, helper, numpy_helper, version_converter

from service.face.manifest import InputSpec
from training.errors import TeacherMismatch

OPSET, IR_VERSION = 17, 8  # what every exported graph here is written in


class Member(NamedTuple):
    """One embedder: its graph, what it is fed, and the weight of its cosine (weights of all members sum to 1)."""

    path: Path
    input: InputSpec
    dim: int
    weight: float


def joint_input(members: Sequence[Member]) -> InputSpec:
    """The input of the joint graph: all members' regions, at the scale of the template.

    Raises:
        TeacherMismatch: A graph cannot cut a member's crop: it has no region, or is scaled by area.
    """
    regions = []
    for member in members:
        if member.input.region is None or member.input.resample != "linear":
            raise TeacherMismatch(f"{member.path}: only members that see a region of the crop, scaled linearly, join")
        regions.append(member.input.region)
    x0, y0 = min(r[0] for r in regions), min(r[1] for r in regions)
    x1, y1 = max(r[2] for r in regions), max(r[3] for r in regions)
    return InputSpec(
        width=x1 - x0,
        height=y1 - y0,
        colour="RGB",
        mean=(0.0, 0.0, 0.0),
        scale=(1.0, 1.0, 1.0),
        layout="NCHW",
        template="arcface-112",
        region=(x0, y0, x1, y1),
        resample="linear",
    )


def write_joint(members: Sequence[Member], projection: NDArray[np.float32] | None, path: Path) -> None:
    """Write the graph: `input` (N, 3, H, W) as `joint_input` says -> `embedding` (N, D), not normalised.

    `projection` is (sum of the members' dims, D), or None to give the joined vector.

    Raises:
        TeacherMismatch: A member cannot be joined.
    """
    whole = joint_input(members)
    graph = helper.make_graph(
        [helper.make_node("Identity", ["input"], ["pixels"])],
        "ensemble",
        [helper.make_tensor_value_info("input", TensorProto.FLOAT, ["n", 3, whole.height, whole.width])],
        [helper.make_tensor_value_info("pixels", TensorProto.FLOAT, ["n", 3, whole.height, whole.width])],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", OPSET)], ir_version=IR_VERSION)
    for number, member in enumerate(members):
        own = _prepared(member, f"m{number}_")
        _feed(model, member.input, whole, own.graph.input[0].name)
        _absorb(model, own)
        _to_unit(model, own.graph.output[0].name, f"m{number}_unit", member.weight)
    joined = [f"m{number}_unit" for number in range(len(members))]
    width = sum(member.dim for member in members)
    if projection is None:
        model.graph.node.append(helper.make_node("Concat", joined, ["embedding"], axis=1))
    else:
        _constant(model, "projection", projection.astype(np.float32))
        model.graph.node.append(helper.make_node("Concat", joined, ["joined"], axis=1))
        model.graph.node.append(helper.make_node("MatMul", ["joined", "projection"], ["embedding"]))
        width = projection.shape[1]
    del model.graph.output[:]
    model.graph.output.append(helper.make_tensor_value_info("embedding", TensorProto.FLOAT, ["n", width]))
    onnx.checker.check_model(model)
    onnx.save(model, path)


def _prepared(member: Member, prefix: str) -> ModelProto:
    """The member's graph at our opset, with a free batch axis and every name prefixed."""
    model = onnx.load(member.path)
    constants = {tensor.name for tensor in model.graph.initializer}
    inputs = [value for value in model.graph.input if value.name not in constants]
    if len(inputs) != 1 or len(model.graph.output) != 1:
        raise TeacherMismatch(
            f"{member.path}: {len(inputs)} inputs and {len(model.graph.output)} outputs, not one each"
        )
    try:
        model = version_converter.convert_version(model, OPSET)
    except Exception as error:  # the converter raises bare RuntimeErrors of its own
        raise TeacherMismatch(f"{member.path}: cannot be brought to opset {OPSET}: {error}") from error
    kept = [value for value in model.graph.input if value.name not in constants]
    del model.graph.input[:]
    model.graph.input.extend(kept)
    for value in (*model.graph.input, *model.graph.output):
        value.type.tensor_type.shape.dim[0].dim_param = "n"
    del model.graph.value_info[:]
    return compose.add_prefix(model, prefix)


def _feed(model: ModelProto, spec: InputSpec, whole: InputSpec, name: str) -> None:
    """Append the nodes that make a member's input, under that input's `name`, of `pixels`."""
    assert spec.region is not None
    assert whole.region is not None
    left, top = whole.region[0], whole.region[1]
    x0, y0, x1, y1 = spec.region
    _constant(model, f"{name}_from", np.array([y0 - top, x0 - left], np.int64))
    _constant(model, f"{name}_to", np.array([y1 - top, x1 - left], np.int64))
    _constant(model, f"{name}_axes", np.array([2, 3], np.int64))
    ends = [f"{name}_from", f"{name}_to", f"{name}_axes"]
    nodes = [helper.make_node("Slice", ["pixels", *ends], [f"{name}_region"])]
    last = f"{name}_region"
    if (x1 - x0, y1 - y0) != (spec.width, spec.height):
        factors = [1.0, 1.0, (spec.height or 0) / (y1 - y0), (spec.width or 0) / (x1 - x0)]
        _constant(model, f"{name}_factors", np.array(factors, np.float32))
        scaled = [last, "", f"{name}_factors"]
        half = "half_pixel"
        nodes.append(
            helper.make_node("Resize", scaled, [f"{name}_scaled"], mode="linear", coordinate_transformation_mode=half)
        )
        # service.face scales pixels that are whole numbers, and so gives whole numbers
        nodes.append(helper.make_node("Round", [f"{name}_scaled"], [f"{name}_whole"]))
        last = f"{name}_whole"
    if spec.colour == "BGR":
        _constant(model, f"{name}_order", np.array([2, 1, 0], np.int64))
        nodes.append(helper.make_node("Gather", [last, f"{name}_order"], [f"{name}_turned"], axis=1))
        last = f"{name}_turned"
    _constant(model, f"{name}_mean", np.array(spec.mean, np.float32).reshape(1, 3, 1, 1))
    _constant(model, f"{name}_scale", np.array(spec.scale, np.float32).reshape(1, 3, 1, 1))
    nodes.append(helper.make_node("Sub", [last, f"{name}_mean"], [f"{name}_centred"]))
    nodes.append(helper.make_node("Mul", [f"{name}_centred", f"{name}_scale"], [name]))
    model.graph.node.extend(nodes)


def _absorb(model: ModelProto, own: ModelProto) -> None:
    model.graph.node.extend(own.graph.node)
    model.graph.initializer.extend(own.graph.initializer)


def _to_unit(model: ModelProto, source: str, name: str, weight: float) -> None:
    """Append: flatten, unit length, times the root of the weight, since it enters an inner product twice."""
    _constant(model, f"{name}_root", np.array(np.sqrt(weight), np.float32))
    model.graph.node.extend(
        [
            helper.make_node("Flatten", [source], [f"{name}_flat"], axis=1),
            helper.make_node("LpNormalization", [f"{name}_flat"], [f"{name}_normal"], axis=1, p=2),
            helper.make_node("Mul", [f"{name}_normal", f"{name}_root"], [name]),
        ]
    )


def _constant(model: ModelProto, name: str, value: NDArray[np.generic]) -> None:
    model.graph.initializer.append(numpy_helper.from_array(value, name))
