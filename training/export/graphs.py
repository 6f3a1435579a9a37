"""Torch networks as ONNX graphs: in single precision, in half precision, and with 8-bit integers."""

from __future__ import annotations

import contextlib
import io
import logging
import tempfile
import warnings
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

import numpy as np
import onnx
import torch
from numpy.typing import NDArray
from onnxruntime.quantization import (
    CalibrationDataReader,
    CalibrationMethod,
    QuantFormat,
    QuantType,
    quantize_static,
)
from onnxruntime.quantization.shape_inference import quant_pre_process
from onnxruntime.transformers.float16 import convert_float_to_float16

from training.atomic_folder import whole_file
from training.backbones.eight_bits.ranges import INPUT
from training.backbones.retail import freeze_slopes
from training.engine.task import Exported
from training.errors import ExportFailed

OPSET = 17


def write_fp32(exported: Exported, path: Path) -> None:
    """Write the network with a free batch axis, batch norms folded."""
    names = ("input", *exported.outputs)
    freeze_slopes(exported.module)
    module = exported.module.eval().to(memory_format=torch.contiguous_format)  # type: ignore[call-overload]
    with whole_file(path) as draft, warnings.catch_warnings():
        # torch's newer exporter takes half a minute for such a graph and says the same
        warnings.simplefilter("ignore")
        torch.onnx.export(
            module,
            (exported.example,),
            draft,
            dynamo=False,
            opset_version=OPSET,
            input_names=["input"],
            output_names=list(exported.outputs),
            dynamic_axes={name: dict(exported.free) for name in names},
        )
        onnx.checker.check_model(str(draft))


def write_fp16(single: Path, path: Path) -> None:
    """Convert a graph's weights and arithmetic to half precision; input and output stay float32."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # it tells of every number below half precision's smallest
        model = convert_float_to_float16(onnx.load(single), keep_io_types=True)
    with whole_file(path) as draft:
        onnx.save(model, draft)


def write_int8(
    single: Path,
    path: Path,
    calibration: NDArray[np.float32],
    ranges: Mapping[str, tuple[float, float]] | None = None,
) -> None:
    """Quantise a graph statically: weights per channel to int8, activations to uint8.

    `calibration` is float32 (N, 3, H, W), network inputs of ordinary crops; an activation's range is what all but
    0.001 % of its values on them stay within, but for those that `ranges` gives by place (`find_ranges`).
    What leads to outputs other than the first stays in single precision: a confidence has to fall for crops that are
    not ordinary, and a range of ordinary ones would hold it up.
    """
    silence = contextlib.redirect_stdout(io.StringIO())
    with tempfile.TemporaryDirectory() as folder, whole_file(path) as draft, silence, _quiet_root():
        ready = Path(folder) / "ready.onnx"
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            quant_pre_process(str(single), str(ready), skip_symbolic_shape=True)
            prepared = onnx.load(ready).graph
            ranges_of_outputs = name_outputs(prepared, ranges or {})
            quantize_static(
                str(ready),
                str(draft),
                _Reader(calibration),
                quant_format=QuantFormat.QDQ,
                per_channel=True,
                activation_type=QuantType.QUInt8,
                weight_type=QuantType.QInt8,
                calibrate_method=CalibrationMethod.Percentile,
                reduce_range=True,  # without VNNI, eight-bit products overflow their sixteen-bit sums
                nodes_to_exclude=list(find_side_nodes(prepared)),
                extra_options={"TensorQuantOverrides": ranges_of_outputs},
            )


def name_outputs(
    graph: onnx.GraphProto, ranges: Mapping[str, tuple[float, float]]
) -> dict[str, list[dict[str, np.float32]]]:
    """Ranges of modules' outputs as the quantiser takes them, by the tensor that the module's last node makes.

    Raises:
        ExportFailed: The graph has no node of a module.
    """
    tensors = {module_of(node.name): node.output[0] for node in graph.node} | {INPUT: graph.input[0].name}
    if unknown := [name for name in ranges if name not in tensors]:
        raise ExportFailed(f"the graph has no nodes of {', '.join(unknown)}")
    return {
        tensors[name]: [{"rmin": np.float32(low), "rmax": np.float32(high)}] for name, (low, high) in ranges.items()
    }


def module_of(node: str) -> str:
    """The module that torch's exporter names a node after: /stages.1/stages.1.0/expand/Conv -> stages.1.0.expand.

    Each part is relative to the one before, or begins with it. The name of a student inside another module is left out.
    """
    module = ""
    for part in node.split("/")[1:-1]:
        module = part if not module or part.startswith(f"{module}.") else f"{module}.{part}"
    return module.removeprefix("student.")


def find_side_nodes(graph: onnx.GraphProto) -> tuple[str, ...]:
    """Names of the nodes of which the graph's first output does not depend."""
    makers = {name: node for node in graph.node for name in node.output}
    wanted, needed = [graph.output[0].name], set[str]()
    while wanted:
        node = makers.get(wanted.pop())
        if node is not None and node.name not in needed:
            needed.add(node.name)
            wanted.extend(node.input)
    return tuple(node.name for node in graph.node if node.name not in needed)


@contextlib.contextmanager
def _quiet_root() -> Iterator[None]:
    """Errors alone from the root logger, to which the quantiser writes, and then again whatever it let through."""
    root = logging.getLogger()
    level = root.level
    root.setLevel(logging.ERROR)
    try:
        yield
    finally:
        root.setLevel(level)


class _Reader(CalibrationDataReader):  # type: ignore[misc]
    """Hands calibration inputs to the quantiser in small batches."""

    def __init__(self, inputs: NDArray[np.float32]) -> None:
        size = min(16, len(inputs))  # histograms want batches of one size, so a rest is left out
        starts = range(0, len(inputs) - size + 1, size)
        self._parts: Sequence[NDArray[np.float32]] = [inputs[start : start + size] for start in starts]
        self._next = 0

    def get_next(self) -> dict[str, NDArray[np.float32]] | None:
        if self._next >= len(self._parts):
            return None
        self._next += 1
        return {"input": self._parts[self._next - 1]}
