"""The time of one face, for every network that rows have, whoever trained them.

A network's time does not hang on its weights. A row that was taken from what is kept has no graph here, so its network
is written with fresh weights to be timed.
"""

from __future__ import annotations

import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path

import torch

from training.backbones.network import build_student
from training.export.cost import race
from training.export.graphs import write_fp32
from training.papers.run import RowRun
from training.tasks.embedding import EmbeddingRecipe
from training.tasks.landmarks import POINTS, LandmarkRecipe
from training.tasks.registry import kind_of


def time_networks(row_runs: Sequence[RowRun], turns: int, others: Mapping[str, Path] | None = None) -> dict[str, float]:
    """Milliseconds for one face on one thread by network, and by name of `others`; all of them timed in turns."""
    with tempfile.TemporaryDirectory() as folder:
        graphs: dict[str, Path] = dict(others or {})
        for number, row_run in enumerate(row_runs):
            if row_run.graph is not None:
                graphs[row_run.net] = row_run.graph
            elif row_run.recipe is not None and row_run.net not in graphs:
                graphs[row_run.net] = write_fresh(row_run.recipe, Path(folder) / f"{number}.onnx")
        return {net: timing.best for net, timing in race(graphs, turns=turns).items()} if graphs else {}


def write_fresh(recipe: EmbeddingRecipe, path: Path) -> Path:
    """Write the recipe's network with fresh weights as a graph."""
    student = build_student(recipe.student, recipe.input)
    state = {f"student.{name}": tensor for name, tensor in student.state_dict().items()}
    if isinstance(recipe, LandmarkRecipe):
        state |= {"points.weight": torch.zeros(POINTS, student.dim), "points.bias": torch.zeros(POINTS)}
    write_fp32(kind_of(recipe.task).restore(recipe, state), path)
    return path
