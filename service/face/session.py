"""One ONNX Runtime session: the only place that imports onnxruntime."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path
from typing import Self

import numpy as np

# Official builds report their use to their maker, and keep a device id in the home folder, unless they are told
# not to before they are loaded. A service that keeps faces from the cloud tells nobody anything.
os.environ["ORT_DISABLE_TELEMETRY"] = "1"

import onnxruntime as ort
from numpy.typing import NDArray

from service.face.errors import InferenceFailed, ModelInvalid

CPU = "CPUExecutionProvider"
PROVIDERS = {
    "cpu": CPU,
    "cuda": "CUDAExecutionProvider",
    "tensorrt": "TensorrtExecutionProvider",
    "openvino": "OpenVINOExecutionProvider",
    "coreml": "CoreMLExecutionProvider",
    "dml": "DmlExecutionProvider",
}
"""What models run on, by short names, as ONNX Runtime calls it."""
LARGE = 3 * 640 * 640  # values; inputs above this are rare and their memory is given back after the run


@dataclass(frozen=True, slots=True)
class Runtime:
    """How sessions run.

    `threads`: threads inside one inference. 1 suits a server, whose parallelism comes from requests; more
    suits a lone caller with large batches. `providers`: ONNX Runtime execution providers in order of
    preference; one that is not available, or that a session ends up without, refuses to load rather than silently
    falling back to the CPU.
    """

    threads: int = 1
    providers: tuple[str, ...] = (CPU,)

    @classmethod
    def on(cls, provider: str) -> Self:
        """Run on one of `PROVIDERS`, by its short name."""
        return cls(providers=(PROVIDERS[provider],))


def short_name(provider: str) -> str:
    """The short name of an execution provider, or ONNX Runtime's where it has none."""
    return next((short for short, name in PROVIDERS.items() if name == provider), provider)


def installed_providers() -> tuple[str, ...]:
    """Short names of the execution providers of this build of ONNX Runtime, of those in `PROVIDERS`."""
    available = ort.get_available_providers()
    return tuple(short for short, name in PROVIDERS.items() if name in available)


class ModelSession:
    """A loaded graph with one input. `run` is safe to call from many threads at once."""

    def __init__(self, path: Path, runtime: Runtime | None = None) -> None:
        """Load the graph. Raises: ModelInvalid when it is not a graph this runtime can run."""
        runtime = runtime or Runtime()
        missing = set(runtime.providers) - set(ort.get_available_providers())
        if missing:
            raise ModelInvalid(
                f"execution provider not available here: {', '.join(sorted(map(short_name, missing)))}; this build of "
                f"ONNX Runtime has {', '.join(installed_providers())}"
            )
        options = ort.SessionOptions()
        options.intra_op_num_threads = runtime.threads
        options.inter_op_num_threads = 1
        options.execution_mode = ort.ExecutionMode.ORT_SEQUENTIAL
        options.log_severity_level = 3
        # Photographs come in many sizes. A memory pattern is kept for every input shape ever seen, and the arena
        # never returns what its largest request took: together they are how such servers grow for days. The
        # arena stays, since without it each run pays for fresh pages, but gives back what a large input took.
        options.enable_mem_pattern = False
        self._shrinking = ort.RunOptions()
        self._shrinking.add_run_config_entry("memory.enable_memory_arena_shrinkage", "cpu:0")
        options.add_session_config_entry("session.intra_op.allow_spinning", "0")
        try:
            self._session = ort.InferenceSession(str(path), options, providers=list(runtime.providers))
        except Exception as error:  # onnxruntime raises many unrelated classes, all meaning this
            raise ModelInvalid(f"{path.name}: not a graph that can be run: {_first_line(error)}") from error
        lost = [name for name in runtime.providers if name not in self._session.get_providers()]
        if lost:
            raise ModelInvalid(
                f"{path.name}: ONNX Runtime has the execution provider {', '.join(map(short_name, lost))}, and could "
                "not start it: its libraries or its device are missing"
            )
        self._session.disable_fallback()  # a device that fails later is an error, and no slower answer
        self.provider = short_name(self._session.get_providers()[0])
        inputs = self._session.get_inputs()
        if len(inputs) != 1:
            raise ModelInvalid(f"{path.name}: the graph has {len(inputs)} inputs; exactly one is expected")
        self._input = inputs[0]
        self.outputs = tuple(output.name for output in self._session.get_outputs())

    @property
    def input_shape(self) -> tuple[int | None, ...]:
        """The declared input shape; None where a dimension is free."""
        return tuple(size if isinstance(size, int) else None for size in self._input.shape)

    @property
    def output_shapes(self) -> dict[str, tuple[int | None, ...]]:
        """The declared output shapes by name; None where a dimension is free."""
        return {
            output.name: tuple(size if isinstance(size, int) else None for size in output.shape)
            for output in self._session.get_outputs()
        }

    def run(self, tensor: NDArray[np.float32]) -> dict[str, NDArray[np.float32]]:
        """Run the graph on a float32 tensor; returns its outputs by name. Raises: InferenceFailed."""
        try:
            options = self._shrinking if tensor.size > LARGE else None
            values = self._session.run(None, {self._input.name: tensor}, options)
        except Exception as error:
            raise InferenceFailed(f"inference failed: {_first_line(error)}") from error
        return dict(zip(self.outputs, values, strict=True))


def _first_line(error: Exception) -> str:
    lines = str(error).splitlines() or [type(error).__name__]
    return lines[0][:200]
