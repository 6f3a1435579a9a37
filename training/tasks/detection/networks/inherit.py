"""First weights of a tapered student: its teacher's own, with as many channels as it has.

A published YuNet graph holds its convolutions in the order in which they run, batch norms folded. Where the student
is thinner, the channels are dropped one by one that the next layer misses least, and that layer is solved anew by
least squares for those that stay (He, Zhang, Sun, "Channel Pruning for Accelerating Very Deep Neural Networks", ICCV
2017; which one to drop: Hassibi and Stork, "Optimal Brain Surgeon", 1993).
"""

from __future__ import annotations

from itertools import pairwise
from pathlib import Path

import numpy as np
import onnx
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from training.errors import InitialisationFailed
from training.tasks.detection.networks.student import BOX, CLS, KPS, OBJ, PIXEL_SCALE
from training.tasks.detection.networks.tapered import WIDTH, TaperedStudent, Unit

#: Order of the four heads in the graph, each for strides 8, 16 and 32.
HEADS = (CLS, BOX, OBJ, KPS)
#: Rows of activations a layer is solved on, at most.
SAMPLES = 200_000


@torch.no_grad()
def inherit(student: TaperedStudent, graph: Path, pixels: Tensor) -> None:
    """Give `student` the weights of the YuNet-n at `graph`; `pixels`, BGR (N, 3, H, W) 0-255, tell channels apart.

    Raises: InitialisationFailed when the graph is of another shape.
    """
    whole = read_yunet(graph)
    x = whole.enter(pixels)
    units, widths = _units(whole.stride4), [unit.pointwise.out_channels for unit in _units(student.stride4)]
    for index, (unit, following) in enumerate(pairwise(units)):
        x = unit(x)
        if widths[index] < x.shape[1]:
            kept, weight = choose_channels(_rows(x), _matrix(following.pointwise), widths[index])
            _keep(unit, kept)
            following.pointwise = nn.Conv2d(len(kept), weight.shape[0], 1)
            solved = torch.from_numpy(weight).float()
            _fill(following.pointwise, solved[:, :-1], solved[:, -1])
            x = x[:, torch.from_numpy(kept)]
    left = student.load_state_dict(whole.state_dict(), strict=False)
    if left.unexpected_keys:
        raise InitialisationFailed(f"{graph}: {left.unexpected_keys[0]} has no place in the student")


@torch.no_grad()
def resume(student: TaperedStudent, graph: Path) -> None:
    """Give `student` the weights of a graph that was exported from one of its shape.

    Raises: InitialisationFailed when the graph is of another shape.
    """
    model = onnx.load(graph)
    tensors = {t.name: torch.from_numpy(onnx.numpy_helper.to_array(t).copy()) for t in model.graph.initializer}
    state = {name.removeprefix("student."): t for name, t in tensors.items() if name.startswith("student.")}
    # the scale of pixels was folded into the first convolution, which lost its name thereby
    first = next((node.input[1] for node in model.graph.node if node.op_type == "Conv"), "")
    if first in tensors:
        state["stem.weight"] = tensors[first] / PIXEL_SCALE
    try:
        student.load_state_dict(state)
    except RuntimeError as error:
        raise InitialisationFailed(f"{graph}: not exported from a student of this shape: {error}") from error


def read_yunet(graph: Path) -> TaperedStudent:
    """The network of a YuNet-n graph, whole. Raises: InitialisationFailed."""
    model = onnx.load(graph)
    tensors = {t.name: t for t in model.graph.initializer}
    weights = [
        [torch.from_numpy(onnx.numpy_helper.to_array(tensors[name]).copy()) for name in node.input[1:3]]
        for node in model.graph.node
        if node.op_type == "Conv" and all(name in tensors for name in node.input[1:3])
    ]
    whole = TaperedStudent(WIDTH, (0, 0, 0)).eval()
    stages = (whole.stride4, whole.stride8, whole.stride16, whole.stride32, whole.fuse[::-1], whole.neck)
    units = [whole.stride2, *(unit for stage in stages for unit in _units(stage))]
    everything = slice(None)
    # where each pair of weight and bias belongs: the trunk, then the heads, which the student keeps in one piece
    places = [(whole.stem, everything), *((conv, everything) for unit in units for conv in _convolutions(unit))]
    places += [(conv, part) for part in HEADS for head in _units(whole.heads) for conv in _convolutions(head)]
    if [pair[0].shape for pair in weights] != [conv.weight[part].shape for conv, part in places]:
        raise InitialisationFailed(f"{graph} is no YuNet-n: {len(weights)} convolutions, or of other shapes")
    with torch.no_grad():
        for (conv, part), (weight, bias) in zip(places, weights, strict=True):
            _fill(conv, weight, bias, part)
        whole.stem.weight /= PIXEL_SCALE
    return whole


def choose_channels(
    rows: NDArray[np.float64], weight: NDArray[np.float64], count: int
) -> tuple[NDArray[np.int64], NDArray[np.float64]]:
    """Choose `count` of C channels so that a linear layer on them comes nearest to the layer on all.

    `rows`: (n, C + 1), activations and a column of ones; `weight`: (O, C + 1), the layer with its bias. Returns the
    chosen channels, rising, and the layer solved for them and the ones, (O, count + 1).
    """
    gram = rows.T @ rows / len(rows)
    gram += np.eye(len(gram)) * 1e-6 * np.trace(gram) / len(gram)
    kept = np.arange(rows.shape[1])
    while True:
        inverse = np.linalg.inv(gram[np.ix_(kept, kept)])
        solved = weight @ gram[:, kept] @ inverse
        if len(kept) <= count + 1:
            return kept[:-1], solved
        # what leaving one out adds to the squared error, the others being solved again
        price = (solved**2).sum(0) / np.diag(inverse)
        kept = np.delete(kept, int(price[:-1].argmin()))


def _units(stage: nn.Module) -> list[Unit]:
    return [unit for unit in stage.children() if isinstance(unit, Unit)]


def _convolutions(unit: Unit) -> tuple[nn.Conv2d, nn.Conv2d]:
    return unit.pointwise, unit.depthwise


def _rows(x: Tensor) -> NDArray[np.float64]:
    rows = x.permute(0, 2, 3, 1).flatten(0, 2)
    rows = rows[:: max(1, len(rows) // SAMPLES)]
    return np.concatenate([rows.double().numpy(), np.ones((len(rows), 1))], axis=1)


def _bias(conv: nn.Conv2d) -> Tensor:
    if conv.bias is None:
        raise AssertionError("every convolution here has a bias")
    return conv.bias


def _matrix(conv: nn.Conv2d) -> NDArray[np.float64]:
    return torch.cat([conv.weight.flatten(1), _bias(conv)[:, None]], 1).double().numpy()


def _keep(unit: Unit, kept: NDArray[np.int64]) -> None:
    """Leave only the chosen channels of a unit's output."""
    chosen, thin = torch.from_numpy(kept), Unit(unit.pointwise.in_channels, len(kept))
    for old, new in zip(_convolutions(unit), _convolutions(thin), strict=True):
        _fill(new, old.weight[chosen], _bias(old)[chosen])
    unit.pointwise, unit.depthwise = thin.pointwise, thin.depthwise


def _fill(conv: nn.Conv2d, weight: Tensor, bias: Tensor, part: slice = slice(None)) -> None:
    place = conv.weight[part]
    conv.weight[part] = weight.reshape(place.shape)
    _bias(conv)[part] = bias
