"""The detector student as a graph that reads like YuNet's: twelve named outputs, any height and width."""

from __future__ import annotations

import warnings
from pathlib import Path

import numpy as np
import onnx
import torch
from torch import Tensor, nn

from service.face.detection.detection import HEADS
from service.face.session import ModelSession
from training.atomic_folder import whole_file
from training.errors import ExportFailed
from training.tasks.detection.networks.student import BOX, CLS, KPS, OBJ, STRIDES, DetectorStudent
from training.tasks.detection.networks.tapered import TaperedStudent

Detects = DetectorStudent | TaperedStudent
NAMES = tuple(f"{head}_{stride}" for head in HEADS for stride in STRIDES)
FREE = {"input": {0: "batch", 2: "height", 3: "width"}, **{name: {0: "batch", 1: "cells"} for name in NAMES}}
#: Largest difference between torch and the graph that rounding explains.
TOLERANCE = 2e-4


class SplitHeads(nn.Module):
    """A student whose rows are taken apart, in the order of `NAMES`.

    BGR float (N, 3, H, W), 0-255 -> cls, obj (N, P, 1) in 0..1, bbox (N, P, 4) and kps (N, P, 10), each for strides 8,
    16 and 32.
    """

    def __init__(self, student: Detects) -> None:
        super().__init__()
        self.student = student

    def forward(self, x: Tensor) -> tuple[Tensor, ...]:
        """Run the student and take its rows apart."""
        levels = self.student.levels(x)
        return (
            *(level[..., CLS].sigmoid() for level in levels),
            *(level[..., OBJ].sigmoid() for level in levels),
            *(level[..., BOX] for level in levels),
            *(level[..., KPS] for level in levels),
        )


def export_detector(student: Detects, path: Path) -> None:
    """Write `student` to `path` (opset 17, batch norm folded, H and W free) and compare it with torch on two sizes.

    Raises: ExportFailed when the graph disagrees; then nothing is left at `path`.
    """
    module = SplitHeads(student).eval().to(memory_format=torch.contiguous_format)  # type: ignore[call-overload]
    with whole_file(path) as draft:
        with warnings.catch_warnings():
            # torch's newer exporter takes half a minute for this graph and says the same
            warnings.simplefilter("ignore", DeprecationWarning)
            torch.onnx.export(
                module,
                (torch.zeros(1, 3, 256, 320),),
                draft,
                dynamo=False,
                opset_version=17,
                input_names=["input"],
                output_names=list(NAMES),
                dynamic_axes=FREE,
            )
        onnx.checker.check_model(str(draft))
        session = ModelSession(draft)
        for height, width in ((96, 160), (480, 640)):
            _compare(module, session, height, width)


def _compare(module: SplitHeads, session: ModelSession, height: int, width: int) -> None:
    pixels = np.random.default_rng(height).uniform(0, 255, (1, 3, height, width)).astype(np.float32)
    outputs = session.run(pixels)
    with torch.no_grad():
        for name, expected in zip(NAMES, module(torch.from_numpy(pixels)), strict=True):
            gap = float(np.abs(outputs[name] - expected.numpy()).max())
            if gap > TOLERANCE:
                raise ExportFailed(f"{name}: the graph differs from torch by {gap:.1e} at {height}x{width}")
