"""The small graphs that stand beside a network: vectors in, one number a vector out."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import TensorProto, helper, numpy_helper

from training.atomic_folder import whole_file

OPSET = 17
IR_VERSION = 8


def write_normalisation(
    path: Path, centres: NDArray[np.float32], nearest: int, strength: float, ordinary: float
) -> None:
    """Write unit vectors (N, D) -> offsets (N, 1): `-strength / 2 * max(0, mean of the nearest scores - ordinary)`.

    Centres are kept in half precision, which changes an offset by less than 1e-3.
    """
    weights = [
        numpy_helper.from_array(centres.T.astype(np.float16), "centres"),
        numpy_helper.from_array(np.array([min(nearest, len(centres))], np.int64), "nearest"),
        numpy_helper.from_array(np.array(ordinary, np.float32), "ordinary"),
        numpy_helper.from_array(np.array(-strength / 2, np.float32), "factor"),
    ]
    nodes = [
        helper.make_node("Cast", ["centres"], ["cohort"], to=TensorProto.FLOAT),
        helper.make_node("MatMul", ["vectors", "cohort"], ["scores"]),
        helper.make_node("TopK", ["scores", "nearest"], ["closest", "places"], axis=1),
        helper.make_node("ReduceMean", ["closest"], ["mean"], axes=[1], keepdims=1),
        helper.make_node("Sub", ["mean", "ordinary"], ["beyond"]),
        helper.make_node("Relu", ["beyond"], ["excess"]),
        helper.make_node("Mul", ["excess", "factor"], ["offset"]),
    ]
    _write(path, "normalisation", nodes, weights, centres.shape[1], "offset")


def write_perceptron(path: Path, layers: Sequence[tuple[NDArray[np.float32], NDArray[np.float32]]]) -> None:
    """Write vectors (N, D) -> (N, 1), 0..1.

    Fully connected layers (out, in) with biases (out,), rectified between, a logistic at the end.
    """
    nodes, weights, at = [], [], "vectors"
    for i, (matrix, bias) in enumerate(layers):
        last = i == len(layers) - 1
        weights += [numpy_helper.from_array(matrix.T.copy(), f"w{i}"), numpy_helper.from_array(bias, f"b{i}")]
        nodes.append(helper.make_node("Gemm", [at, f"w{i}", f"b{i}"], [f"h{i}"]))
        nodes.append(helper.make_node("Sigmoid" if last else "Relu", [f"h{i}"], ["given" if last else f"a{i}"]))
        at = f"a{i}"
    _write(path, "recognisability", nodes, weights, layers[0][0].shape[1], "given")


def _write(
    path: Path, name: str, nodes: Sequence[onnx.NodeProto], weights: Sequence[onnx.TensorProto], dim: int, output: str
) -> None:
    graph = helper.make_graph(
        nodes,
        name,
        [helper.make_tensor_value_info("vectors", TensorProto.FLOAT, ["N", dim])],
        [helper.make_tensor_value_info(output, TensorProto.FLOAT, ["N", 1])],
        list(weights),
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", OPSET)], ir_version=IR_VERSION)
    onnx.checker.check_model(model)
    with whole_file(path) as draft:
        onnx.save(model, draft)
