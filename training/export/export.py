"""`facet-train export`: a run's student as graphs that can be served, each compared with torch and timed.

Every form is measured on the same crops in the same minute. A form that is not faster than fp32 on this machine says
so: it saves bytes, and is no optimisation. Adapters and heads stay behind.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Literal

import numpy as np
import torch
from numpy.typing import NDArray

from service.face.embed import normalise
from service.face.manifest import InputSpec
from service.face.preprocess import to_tensor
from service.face.session import ModelSession, Runtime
from training.atomic_folder import digest_file, whole_folder, write_json
from training.backbones.backbone import Student
from training.backbones.network import restore_student
from training.data.crops import CropSet
from training.engine.checkpoint import load_checkpoint
from training.errors import ExportFailed
from training.export.cost import count, race
from training.export.equalise import equalise
from training.export.graphs import write_fp16, write_fp32, write_int8
from training.tasks.base import Exported

Form = Literal["fp32", "fp16", "int8"]
FORMS: tuple[Form, ...] = ("fp32", "fp16", "int8")
PARITY = 1e-3  # largest 1 - cos between torch and the fp32 graph that rounding explains


@dataclass(frozen=True, slots=True)
class Measured:
    """One form: `cosine_mean` and `cosine_min` with torch over the probe crops, milliseconds a face on one thread,
    and how many times faster than fp32 it ran.
    """

    form: Form
    file: str
    sha256: str
    bytes: int
    cosine_mean: float
    cosine_min: float
    milliseconds: float
    speedup: float

    @property
    def verdict(self) -> str:
        """What to say of it."""
        if self.form == "fp32":
            return "reference"
        return "faster than fp32" if self.speedup > 1 else "slower than fp32 here: smaller, not an optimisation"


class OnnxNet:
    """A graph as something that embeds crops, before it has a manifest."""

    def __init__(self, path: Path, pixels: InputSpec, dim: int, threads: int = 1) -> None:
        """Raises: ModelInvalid."""
        self._session = ModelSession(path, Runtime(threads))
        self.input = pixels
        self.dim = dim
        self.digest = digest_file(path)

    def embed(self, crops: NDArray[np.uint8]) -> NDArray[np.float32]:
        """RGB uint8 (N, 128, 128, 3) -> float32 (N, dim), unit rows."""
        return normalise(self.run(to_tensor(crops, self.input)))

    def run(self, pixels: NDArray[np.float32]) -> NDArray[np.float32]:
        """Network input (N, 3, H, W) -> its one output (N, dim)."""
        return self._session.run(pixels)[self._session.outputs[0]]


def export(
    run: Path,
    calibration: Sequence[CropSet],
    forms: Sequence[Form] = FORMS,
    *,
    amount: int = 200,
    seed: int = 0,
) -> tuple[Measured, ...]:
    """Write `<run>/export/{fp32,fp16,int8}.onnx` and `export.json`. Half of the drawn crops calibrate, half compare.

    Raises: CheckpointInvalid, RecipeInvalid, SetInvalid; ExportFailed when the fp32 graph disagrees with torch.
    """
    student, pixels = restore_student(load_checkpoint(run))
    crops = draw(calibration, 2 * amount, seed)
    ranges, probes = to_tensor(crops[:amount], pixels), to_tensor(crops[amount:], pixels)
    with torch.no_grad():
        expected = normalise(student(torch.from_numpy(probes)).numpy())
    cost = count(student, torch.zeros(1, 3, student.height, student.width))
    with whole_folder(run / "export") as draft:
        write_fp32(_exported(student, pixels), draft / "fp32.onnx")
        if "fp16" in forms:
            write_fp16(draft / "fp32.onnx", draft / "fp16.onnx")
        if "int8" in forms:
            # equal ranges first: one scale for all channels rounds the small ones away
            equalise(student, torch.from_numpy(ranges))
            write_fp32(_exported(student, pixels), draft / "equalised.onnx")
            write_int8(draft / "equalised.onnx", draft / "int8.onnx", ranges)
            (draft / "equalised.onnx").unlink()
        chosen: tuple[Form, ...] = tuple(form for form in FORMS if form in forms or form == "fp32")
        paths: dict[str, Path] = {form: draft / f"{form}.onnx" for form in chosen}
        times = race(paths)
        measured = []
        for form in chosen:
            network = OnnxNet(paths[form], pixels, student.dim)
            cosines = _cosines(network.run(probes), expected)
            milliseconds = times[form].median
            speedup = times["fp32"].median / milliseconds
            measured.append(
                Measured(
                    form,
                    paths[form].name,
                    network.digest,
                    paths[form].stat().st_size,
                    float(cosines.mean()),
                    float(cosines.min()),
                    milliseconds,
                    speedup,
                )
            )
        if not measured[0].cosine_min >= 1 - PARITY:
            raise ExportFailed(f"the fp32 graph differs from torch: a cosine of {measured[0].cosine_min:.5f} on a crop")
        listed = [asdict(m) | {"verdict": m.verdict} for m in measured]
        write_json(draft / "export.json", {"dim": student.dim, **asdict(cost), "probes": len(probes), "forms": listed})
    return tuple(measured)


def draw(sets: Sequence[CropSet], count: int, seed: int) -> NDArray[np.uint8]:
    """Crops drawn evenly from several sets. Raises: ExportFailed when there are too few."""
    rng = np.random.default_rng(seed)
    each = -(-count // len(sets))
    parts = [np.asarray(s.crops[np.sort(rng.permutation(len(s))[:each])]) for s in sets]
    crops = np.concatenate(parts)[rng.permutation(sum(len(part) for part in parts))][:count]
    if len(crops) < count:
        raise ExportFailed(f"{count} crops are needed to calibrate and compare, the sets hold {len(crops)}")
    return crops


def _cosines(given: NDArray[np.float32], expected: NDArray[np.float32]) -> NDArray[np.float32]:
    """Cosine of each row with its unit vector; -1 for a row without a direction (half precision may overflow)."""
    norms = np.linalg.norm(given, axis=1)
    usable = np.isfinite(norms) & (norms > 1e-12)
    cosines = np.full(len(given), -1, np.float32)
    cosines[usable] = (given[usable] * expected[usable]).sum(axis=1) / norms[usable]
    return cosines


def _exported(student: Student, pixels: InputSpec) -> Exported:
    assert pixels.height is not None
    assert pixels.width is not None
    return Exported(student.eval(), torch.zeros(1, 3, pixels.height, pixels.width), ("embedding",))
