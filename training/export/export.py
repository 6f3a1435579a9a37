"""`facet-train export`: a run's student as graphs that can be served, each compared with torch and timed.

Every form is measured on the same crops in the same minute. A form that is not faster than fp32 on this machine says
so: it saves bytes, and is no optimisation. Adapters and heads stay behind.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Literal

import numpy as np
import torch
from numpy.typing import NDArray

from service.face.embedding.embed import normalise
from service.face.embedding.preprocess import to_tensor
from service.face.manifest import InputSpec
from training.atomic_folder import whole_folder
from training.backbones.backbone import Student
from training.backbones.confidence import Confidence, Confident
from training.backbones.eight_bits.equalise import equalise
from training.backbones.eight_bits.ranges import name_ranges
from training.backbones.network import example, restore_student
from training.data.crops import CropSet, Split
from training.engine.checkpoint import load_checkpoint
from training.engine.task import Exported
from training.errors import ExportFailed
from training.evaluation.onnx_network import OnnxNet
from training.export.cost import count, race
from training.export.graphs import write_fp16, write_fp32, write_int8
from training.export.record import FILE, FORMS, EmbedderExport, EmbedderGraph, Form, write_export
from training.tasks.confidence import read_confidence

TASK = "embedding"
EMBEDDING, CONFIDENCE = "embedding", "confidence"
PARITY = 1e-3  # largest 1 - cos between torch and the fp32 graph that rounding explains


def export(
    run: Path,
    calibration: Sequence[CropSet],
    forms: Sequence[Form] = FORMS,
    *,
    amount: int = 200,
    seed: int = 0,
    split: Split | Literal["all"] = "all",
) -> EmbedderExport:
    """Write `<run>/export/{fp32,fp16,int8}.onnx` and `export.json`. Half of the drawn crops calibrate, half compare.

    They are drawn from `split` of the sets: from `train` where others of these people are to be measured on.

    Raises:
        CheckpointInvalid: There is no checkpoint, or it does not fit, or the run's confidence was taught earlier.
        RecipeInvalid: The recipe is missing, misspelt or contradicts itself.
        SetInvalid: A set is damaged or does not hold what is needed.
        ExportFailed: The fp32 graph disagrees with torch, or the run is another task's.
    """
    checkpoint = load_checkpoint(run)
    if (task := json.loads(checkpoint.recipe).get("task")) != TASK:
        raise ExportFailed(f"{run} was trained for the task {task}: only students of the task {TASK} are exported so")
    student, pixels = restore_student(checkpoint)
    confidence = read_confidence(run, checkpoint.step)
    crops = draw(calibration, 2 * amount, seed, split)
    ranges, probes = to_tensor(crops[:amount], pixels), to_tensor(crops[amount:], pixels)
    with torch.no_grad():
        expected = normalise(student(torch.from_numpy(probes)).numpy())
    cost = count(student, torch.zeros(1, 3, student.height, student.width))
    with whole_folder(run / "export", FILE) as draft:
        write_fp32(_exported(student, pixels, confidence), draft / "fp32.onnx")
        if "fp16" in forms:
            write_fp16(draft / "fp32.onnx", draft / "fp16.onnx")
        if "int8" in forms:
            known_ranges = checkpoint.best.get("ranges")  # of a run that was trained for 8 bits, and is equalised
            if known_ranges is None:
                # equal ranges first: one scale for all channels rounds the small ones away
                equalise(student, torch.from_numpy(ranges))
            write_fp32(_exported(student, pixels, confidence), draft / "equalised.onnx")
            known = name_ranges(student, known_ranges) if known_ranges is not None else {}
            write_int8(draft / "equalised.onnx", draft / "int8.onnx", ranges, known)
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
                EmbedderGraph(
                    form=form,
                    file=paths[form].name,
                    sha256=network.digest,
                    bytes=paths[form].stat().st_size,
                    milliseconds=milliseconds,
                    cosine_mean=float(cosines.mean()),
                    cosine_min=float(cosines.min()),
                    speedup=speedup,
                    verdict=judge(form, speedup),
                )
            )
        if not measured[0].cosine_min >= 1 - PARITY:
            raise ExportFailed(f"the fp32 graph differs from torch: a cosine of {measured[0].cosine_min:.5f} on a crop")
        record = EmbedderExport(
            dim=student.dim,
            confidence=CONFIDENCE if confidence is not None else None,
            **asdict(cost),
            probes=len(probes),
            forms=tuple(measured),
        )
        write_export(draft, record)
    return record


def judge(form: Form, speedup: float) -> str:
    """Say what a form is worth that ran `speedup` times as fast as fp32."""
    if form == "fp32":
        return "reference"
    return "faster than fp32" if speedup > 1 else "slower than fp32 here: smaller, not an optimisation"


def draw(sets: Sequence[CropSet], count: int, seed: int, split: Split | Literal["all"] = "all") -> NDArray[np.uint8]:
    """Crops drawn from a split of several sets, as evenly as their sizes allow.

    Raises:
        ExportFailed: There are too few.
    """
    rng = np.random.default_rng(seed)
    rows = [rng.permutation(each.rows(split)) for each in sets]
    share = next((n for n in range(-(-count // len(sets)), count) if sum(len(r[:n]) for r in rows) >= count), count)
    parts = [np.asarray(s.crops[np.sort(own[:share])]) for s, own in zip(sets, rows, strict=True)]
    crops = np.concatenate(parts)[rng.permutation(sum(len(part) for part in parts))][:count]
    if len(crops) < count:
        raise ExportFailed(f"{count} crops are needed to calibrate and compare, the sets hold {len(crops)}")
    return crops


def _cosines(output: NDArray[np.float32], expected: NDArray[np.float32]) -> NDArray[np.float32]:
    """Cosine of each row with its unit vector; -1 for a row without a direction (half precision may overflow)."""
    norms = np.linalg.norm(output, axis=1)
    usable = np.isfinite(norms) & (norms > 1e-12)
    cosines = np.full(len(output), -1, np.float32)
    cosines[usable] = (output[usable] * expected[usable]).sum(axis=1) / norms[usable]
    return cosines


def _exported(student: Student, pixels: InputSpec, confidence: Confidence | None) -> Exported:
    if confidence is None:
        return Exported(student.eval(), example(pixels), (EMBEDDING,))
    return Exported(Confident(student, confidence).eval(), example(pixels), (EMBEDDING, CONFIDENCE))
