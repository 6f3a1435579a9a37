"""What a network costs: parameters, multiply-adds, and milliseconds a face on one thread.

Milliseconds depend on the machine and on what else it does, so models are only compared within one run, in turns. The
yardstick is the iresnet100 of face recognition (65M parameters), whose weights do not matter for its speed.
"""

from __future__ import annotations

import statistics
import time
import warnings
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from torch import Tensor, nn
from torch.utils.flop_counter import FlopCounterMode

from service.face.session import ModelSession
from training.atomic_folder import whole_file
from training.backbones.resnet import iresnet100

SHORT = 0.02
"""Runs shorter than this, in seconds, are repeated within a turn."""


@dataclass(frozen=True, slots=True)
class Cost:
    """Trained numbers of a network, and multiplications with addition for one face."""

    parameters: int
    multiply_adds: int


@dataclass(frozen=True, slots=True)
class Timing:
    """Milliseconds for one face on one thread: the median and the best of all runs."""

    median: float
    best: float


@torch.no_grad()
def count(network: nn.Module, example: Tensor) -> Cost:
    """Count a network's parameters, and the multiply-adds of its convolutions and matrix products on one input."""
    with FlopCounterMode(display=False) as counter:
        network.eval()(example)
    # a multiplication and an addition are two operations
    return Cost(sum(p.numel() for p in network.parameters()), counter.get_total_flops() // 2)


def race(models: Mapping[str, Path], *, turns: int = 20) -> dict[str, Timing]:
    """Time ONNX files with square image inputs of fixed size, one face at a time on one thread, taking turns.

    Raises:
        ValueError: For an input of free size.
        ModelInvalid: For a file that is no model.
    """
    sessions = {name: ModelSession(path) for name, path in models.items()}
    rng = np.random.default_rng(0)
    faces = {name: rng.normal(size=_shape(session)).astype(np.float32) for name, session in sessions.items()}
    spent: dict[str, list[float]] = {name: [] for name in sessions}
    for turn in range(turns + 1):
        for name, session in sessions.items():
            runs: list[float] = []
            began = time.perf_counter()
            while not runs or time.perf_counter() - began < SHORT:
                start = time.perf_counter()
                session.run(faces[name])
                runs.append(time.perf_counter() - start)
            if turn:  # the first turn warms up
                spent[name] += runs
    return {name: Timing(1e3 * statistics.median(runs), 1e3 * min(runs)) for name, runs in spent.items()}


def yardstick(folder: Path) -> Path:
    """An iresnet100 with random weights as an ONNX file in ``folder``, written once."""
    path = folder / "iresnet100.onnx"
    if not path.exists():
        with whole_file(path) as draft, warnings.catch_warnings():
            # torch's newer exporter takes minutes for this graph and writes the same
            warnings.simplefilter("ignore", DeprecationWarning)
            example = torch.zeros(1, 3, 112, 112)
            torch.onnx.export(iresnet100().eval(), (example,), draft, dynamo=False, opset_version=17)
    return path


def _shape(session: ModelSession) -> tuple[int, ...]:
    sizes = [size for size in session.input_shape[1:] if size is not None]
    if len(sizes) != 3:
        raise ValueError(f"the input {session.input_shape} is no image of fixed size")
    return (1, *sizes)
