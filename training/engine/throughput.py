"""How near a whole training step comes to the bare network's forward and backward pass.

The loop as `fit` runs it, with its data, optimiser, average and logs, against the same task on one batch again and
again, in turns, so that whatever else the machine does falls on both.
"""

from __future__ import annotations

import json
import shutil
import tempfile
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from lightning.fabric import Fabric

from training.data.loader import Plan
from training.engine.fit import fit
from training.engine.task import TaskKind, place
from training.recipe import Recipe, Roots


@dataclass(frozen=True, slots=True)
class Pace:
    """Median images per second of the loop and of the bare passes, and the loop's share of time spent on waiting."""

    loop: float
    bare: float
    data_wait: float

    @property
    def ratio(self) -> float:
        """The loop's speed over the bare passes'."""
        return self.loop / self.bare


@dataclass(frozen=True, slots=True)
class Faster:
    """Median images per second of processor time of a recipe's loop and of the same recipe's with other values.

    Processor time, because what else the machine does takes turns away, and hardly costs any of it.
    """

    now: float
    other: float

    @property
    def ratio(self) -> float:
        """How many times as fast."""
        return self.now / self.other


def measure_pace(
    recipe: Recipe, kind: TaskKind[Any], roots: Roots, *, steps: int = 20, turns: int = 5, accelerator: str = "cpu"
) -> Pace:
    """Run `turns` times `steps` steps of each, after one turn that is not counted. Keeps no run.

    Raises: what `fit` raises.
    """
    with _borrowed(recipe, roots, steps, turns) as loop:
        passes = _Passes(loop, kind, roots, accelerator)
        loops, bares, waits = [], [], []
        for turn in range(turns + 1):
            summary = _go_on(loop, kind, roots, (turn + 1) * steps, accelerator)
            loops.append(summary["images_per_second"])
            waits.append(summary["data_wait"])
            bares.append(passes.images_per_second(steps))
        return Pace(*(float(np.median(values[1:])) for values in (loops, bares, waits)))


def compare_paces(
    recipe: Recipe,
    other: Recipe,
    kind: TaskKind[Any],
    roots: Roots,
    *,
    steps: int = 20,
    turns: int = 5,
    accelerator: str = "cpu",
) -> Faster:
    """Run the loops of two recipes of one task in turns, as `measure_pace` runs one. Keeps no run.

    Raises: what `fit` raises.
    """
    with _borrowed(recipe, roots, steps, turns) as first, _borrowed(other, roots, steps, turns) as second:
        speeds: list[list[float]] = [[], []]
        for turn in range(turns + 1):
            for loop, mine in zip((first, second), speeds, strict=True):
                summary = _go_on(loop, kind, roots, (turn + 1) * steps, accelerator)
                mine.append(summary["images_per_cpu_second"])
        return Faster(*(float(np.median(values[1:])) for values in speeds))


@contextmanager
def _borrowed(recipe: Recipe, roots: Roots, steps: int, turns: int) -> Iterator[Recipe]:
    """The recipe, long enough for its turns, with a run of its own that is gone afterwards."""
    length = {"steps": steps * (turns + 1), "epochs": None, "checkpoint_every": steps}
    roots.runs.mkdir(parents=True, exist_ok=True)
    # a name of its own beside the other runs: the recipe may begin with one of them, and its targets lie there
    folder = Path(tempfile.mkdtemp(prefix=f"{recipe.name}-pace-", dir=roots.runs))
    schedule = recipe.schedule.model_copy(update=length)
    try:
        yield recipe.model_copy(update={"name": folder.name, "schedule": schedule})
    finally:
        shutil.rmtree(folder)


def _go_on(recipe: Recipe, kind: TaskKind[Any], roots: Roots, until: int, accelerator: str) -> Mapping[str, float]:
    run = fit(recipe, kind, roots, accelerator=accelerator, until=until, progress=False)
    summary: Mapping[str, float] = json.loads((run / "fit.json").read_text(encoding="utf-8"))
    return summary


class _Passes:
    """Forward and backward of a recipe's task on one batch, set up as the loop sets it up."""

    def __init__(self, recipe: Recipe, kind: TaskKind[Any], roots: Roots, accelerator: str) -> None:
        schedule = recipe.schedule
        fabric = Fabric(accelerator=accelerator, devices=1, precision=schedule.precision)
        fabric.launch()
        torch.manual_seed(recipe.seed)
        task = kind.build(recipe, roots)
        place(task, fabric, schedule)
        plan = Plan(task.source, recipe.seed, schedule.batch)
        batch = plan.batch(0, task.source.order(0, recipe.seed), plan.steps_per_epoch)
        self._fabric, self._module, self._size = fabric, fabric.setup(task), schedule.batch
        self._batch = fabric.to_device({name: torch.from_numpy(array) for name, array in batch.items()})
        self._module.train()

    def images_per_second(self, steps: int) -> float:
        """Time so many passes."""
        began = time.perf_counter()
        for _ in range(steps):
            losses = self._module(self._batch)
            self._fabric.backward(torch.stack(list(losses.values())).sum())
            self._module.zero_grad(set_to_none=True)
        return self._size * steps / (time.perf_counter() - began)
