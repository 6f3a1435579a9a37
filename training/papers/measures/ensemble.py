"""The ensemble that MobileID's student stands in for: what it costs and how good it is, measured once.

The paper states compression and speed against its ensemble of six networks; ours is the networks that teach the row.
"""

from __future__ import annotations

import json
import math
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import onnx
from numpy.typing import NDArray

from service.face.embedding.embed import normalise
from service.face.errors import ModelError
from service.face.registry import ModelFolder, Registry
from training.atomic_folder import digest_text
from training.data.embeds import Embeds
from training.distillation.teachers import ModelTeacher
from training.papers.budget import Budget, cut
from training.papers.finished import ENSEMBLE, KEPT_ENSEMBLE, write_record
from training.papers.measures.benchmark import Benchmark, recognise
from training.recipe import Roots
from training.tasks.embedding import EmbeddingRecipe

ROW = "mobileid"


@dataclass(frozen=True, slots=True)
class Ensemble:
    """The row's teachers: their parameters and measures, and where their graphs lie, if they are here."""

    members: tuple[str, ...]
    parameters: int
    measures: dict[str, NDArray[np.float64]]
    graphs: dict[str, Path]


class Joined:
    """Several networks as one: their unit vectors side by side, so that its cosine is the mean of theirs."""

    def __init__(self, members: Sequence[Embeds]) -> None:
        self._members = members
        self.dim = sum(member.dim for member in members)
        self.digest = digest_text(*(member.digest for member in members))

    def embed(self, crops: NDArray[np.uint8]) -> NDArray[np.float32]:
        """Embed RGB uint8 (N, 128, 128, 3): float32 (N, dim), rows of unit length."""
        return normalise(np.concatenate([member.embed(crops) for member in self._members], axis=1))


def measure_ensemble(
    budget: Budget, roots: Roots, benchmark: Benchmark, kept: Path = KEPT_ENSEMBLE, row: str = ROW
) -> Ensemble | None:
    """Measure the teachers of a row as one network, or take what was measured before; None where neither can be.

    A new measurement is left beside the runs as `ensemble.json`.
    """
    recipe = cut(row, budget, 0)
    assert isinstance(recipe, EmbeddingRecipe)
    names = [teacher.model for teacher in recipe.teachers.values() if isinstance(teacher, ModelTeacher)]
    folders = _find(names, roots)
    path = roots.runs / ENSEMBLE
    record = _read(path, names, budget) or _read(kept, names, budget)
    if record is None and folders:
        joined = Joined([folder.embedder() for folder in folders])
        record = {
            "members": names,
            "rounds": budget.rounds,
            "digest": joined.digest,
            "parameters": sum(count_weights(folder.model_path) for folder in folders),
            "measures": {
                name: [round(float(v), 5) for v in values] for name, values in recognise(joined, benchmark).items()
            },
        }
        write_record(path, record)
    if record is None:
        return None
    measures = {name: np.array(values) for name, values in record["measures"].items()}
    graphs = {f"ensemble {folder.manifest.name}": folder.model_path for folder in folders}
    return Ensemble(tuple(names), record["parameters"], measures, graphs)


def count_weights(path: Path) -> int:
    """Count the trained numbers of an ONNX graph: those of its initialisers of floating point."""
    kinds = (onnx.TensorProto.FLOAT, onnx.TensorProto.FLOAT16)
    return sum(math.prod(t.dims) for t in onnx.load(path).graph.initializer if t.data_type in kinds)


def _find(names: Sequence[str], roots: Roots) -> list[ModelFolder]:
    """The models of these names; none where one is not here."""
    registry = Registry.scan(roots.model_folders)
    try:
        return [registry.find(name) for name in names]
    except ModelError:
        return []


def _read(path: Path, names: Sequence[str], budget: Budget) -> dict[str, Any] | None:
    if not path.is_file():
        return None
    record: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
    return record if (record["members"], record["rounds"]) == (list(names), budget.rounds) else None
