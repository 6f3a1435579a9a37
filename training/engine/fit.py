"""The training loop: one for every task and method, on a CPU, one device or several (torchrun), unchanged.

Every random choice of a step (samples, augmentation, dropout) is drawn from seed and step, so a resumed run continues
exactly as an uninterrupted one would have.
"""

from __future__ import annotations

import math
import os
from collections.abc import Mapping
from contextlib import AbstractContextManager, nullcontext
from pathlib import Path
from typing import Any

import torch
from lightning.fabric import Fabric
from lightning.fabric.loggers.tensorboard import TensorBoardLogger
from tqdm import tqdm

from training.atomic_folder import write_json
from training.data.batch import Batch
from training.data.loader import Plan, batches
from training.engine.checkpoint import FILE, Checkpoint, load_checkpoint, save_checkpoint
from training.engine.memory import kept_memory
from training.engine.optimise import Average, build_optimiser, rate
from training.engine.progress import Meter
from training.engine.task import Task, TaskKind, place
from training.errors import CheckpointInvalid, LossNotFinite
from training.recipe import Recipe, Roots

LOG_EVERY = 20


def fit(
    recipe: Recipe,
    kind: TaskKind[Any],
    roots: Roots,
    *,
    accelerator: str = "auto",
    until: int | None = None,
    progress: bool = True,
) -> Path:
    """Train what the recipe says, or go on where an earlier call stopped. Returns the run's folder.

    `until` stops early, after that many steps, leaving a checkpoint to resume from.

    Raises:
        RecipeInvalid: The recipe is missing, misspelt or contradicts itself.
        DataError: A set is missing or damaged.
        TeacherError: A teacher is missing or does not fit.
        InitialisationFailed: Too few tensors match; as those before it, before the first step.
        LossNotFinite: A loss or gradient is not finite; the last good checkpoint stays.
        CheckpointInvalid: The folder holds a run of another recipe, or one that began with other sets or teachers.
    """
    schedule, folder = recipe.schedule, roots.runs / recipe.name
    fabric = Fabric(
        accelerator=accelerator,
        devices=int(os.environ.get("LOCAL_WORLD_SIZE", "1")),  # set by torchrun
        precision=schedule.precision,
        loggers=TensorBoardLogger(folder, name="log", version=""),
    )
    fabric.launch()
    earlier = _resumable(folder, recipe)
    if earlier is not None and earlier.ended:
        return folder
    torch.manual_seed(recipe.seed)
    with fabric.rank_zero_first():  # who computes the teachers' targets; the others find them
        task = kind.build(recipe, roots)
    if earlier is not None:
        _refuse_other_sources(folder, earlier.facts, task.facts)
    place(task, fabric, schedule)
    task.facts = {**task.facts, "trained_on": _name(fabric.device)}
    if earlier is not None:
        task.load_state_dict(dict(earlier.model))
    module, optimiser = fabric.setup(task, build_optimiser(task, schedule))
    average = Average(task.state_dict(), schedule.ema) if schedule.ema else None
    if earlier is not None:
        optimiser.load_state_dict(dict(earlier.optimiser))
    if average is not None and earlier is not None and earlier.average is not None:
        average.state = {n: fabric.to_device(t) for n, t in earlier.average.items()}

    plan = Plan(task.source, recipe.seed, schedule.batch, fabric.global_rank, fabric.world_size)
    total = schedule.steps or max(1, round((schedule.epochs or 0) * plan.steps_per_epoch))
    start, stop = earlier.step if earlier is not None else 0, min(total, total if until is None else until)
    meter = Meter(schedule.batch)
    hidden = not progress or fabric.global_rank > 0
    bar = tqdm(total=total, initial=start, desc=recipe.name, unit="step", disable=hidden)
    module.train()
    ready = meter.watch(batches(plan, start, stop, schedule.workers))
    memory: AbstractContextManager[object] = kept_memory() if schedule.memory == "kept" else nullcontext()
    with memory:
        for step, batch in zip(range(start, stop), ready, strict=False):
            torch.manual_seed((recipe.seed * 1_000_003 + step) * 4_099 + fabric.global_rank)
            for group in optimiser.param_groups:
                group["lr"] = rate(step, total, schedule)
            values = _step(fabric, module, optimiser, batch, schedule.clip)
            done = step + 1
            if average is not None:
                average.update(task.state_dict(), step)
            bar.update()
            if done % LOG_EVERY == 0 or done == stop:
                report = meter.report(values)
                bar.set_postfix({"loss": f"{report['loss']:.4f}", "img/s": f"{report['images_per_second']:.0f}"})
                fabric.log_dict({**report, "rate": rate(step, total, schedule)}, step=done)
            if (done % schedule.checkpoint_every == 0 or done == stop) and fabric.global_rank == 0:
                _save(folder, recipe, task, average, optimiser, done, total)
    bar.close()
    fabric.barrier()
    fabric.logger.finalize("success")
    if fabric.global_rank == 0 and stop > start:
        write_json(folder / "fit.json", {"name": recipe.name, "step": stop, "total": total, **meter.summary()})
    return folder


def _name(device: torch.device) -> str:
    return torch.cuda.get_device_name(device) if device.type == "cuda" else device.type


def _step(
    fabric: Fabric, module: Any, optimiser: torch.optim.Optimizer, batch: Batch, clip: float | None
) -> dict[str, float]:
    """One optimiser step; returns the losses by name.

    Raises:
        LossNotFinite: Before anything was changed.
    """
    losses = module(fabric.to_device({name: torch.from_numpy(array) for name, array in batch.items()}))
    values = {name: float(value.detach()) for name, value in losses.items()}
    _refuse_nonfinite(values)
    optimiser.zero_grad(set_to_none=True)
    fabric.backward(torch.stack(list(losses.values())).sum())
    most = math.inf if clip is None else clip
    norm = fabric.clip_gradients(module, optimiser, max_norm=most, error_if_nonfinite=False)
    _refuse_nonfinite({"gradient norm": float(norm) if norm is not None else 0.0})
    optimiser.step()
    return values


def _resumable(folder: Path, recipe: Recipe) -> Checkpoint | None:
    """Load the checkpoint to go on from, if any.

    Raises:
        CheckpointInvalid: It is damaged, or another recipe's.
    """
    if not (folder / FILE).exists():
        return None
    earlier = load_checkpoint(folder)
    if not recipe.matches_text(earlier.recipe):
        raise CheckpointInvalid(
            f"{folder} holds a run of another recipe of this name: rename the recipe, or delete the folder"
        )
    return earlier


def _refuse_other_sources(folder: Path, before: Mapping[str, Any], now: Mapping[str, Any]) -> None:
    """See that a run goes on with the sets and teachers that it began with.

    Raises:
        CheckpointInvalid: They are others.
    """
    for what in ("data", "teachers"):
        known, given = dict(before.get(what, {})), dict(now.get(what, {}))
        if others := sorted(name for name in known.keys() & given.keys() if known[name] != given[name]):
            raise CheckpointInvalid(
                f"{folder} holds a run that began with another {', '.join(others)} of this name: bring it back, "
                f"rename the recipe, or delete the folder"
            )


def _save(
    folder: Path,
    recipe: Recipe,
    task: Task,
    average: Average | None,
    optimiser: torch.optim.Optimizer,
    step: int,
    total: int,
) -> None:
    state = {name: tensor.detach().cpu() for name, tensor in task.state_dict().items()}
    averaged = {n: t.cpu() for n, t in average.state.items()} if average is not None else None
    save_checkpoint(
        folder,
        Checkpoint(recipe.model_dump_json(), step, total, state, averaged, optimiser.state_dict(), dict(task.facts)),
    )


def _refuse_nonfinite(values: dict[str, float]) -> None:
    for name, value in values.items():
        if not math.isfinite(value):
            raise LossNotFinite(
                f"{name} is {value}. Nothing of this step was kept; the last checkpoint is good, if there is one. "
                f"Lower `peak`, lengthen `warmup`, or look at the data"
            )
