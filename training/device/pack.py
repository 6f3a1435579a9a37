"""`facet-train device-pack`: a recipe's crops, targets and first weights as files small enough to travel.

A pack is a folder::

    pack.json         the recipe, and how the student's input is made of a crop
    start.npz         the student's first weights, float32: last layer fitted, gates settled, all that `init` says
    part-00.npz ...   crops as WebP in one array of bytes, where each ends, targets as float16, how often each is shown

Nothing there needs the rest of this project but `training.backbones`: PyTorch, NumPy and Pillow are enough.
"""

from __future__ import annotations

import json
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray

from training.atomic_folder import whole_folder
from training.backbones.weights import write_weights
from training.data.crops import open_sets
from training.data.samples import Pool, gather
from training.distillation.teacher_targets import compute_targets
from training.distillation.teachers import open_teacher
from training.distillation.terms.adapters import Identity
from training.distillation.terms.distances import Cosine, Relations
from training.distillation.terms.targets import Same
from training.distillation.terms.term import TermSpec
from training.errors import RecipeInvalid
from training.recipe import Roots
from training.tasks.embedding import EmbeddingRecipe, EmbeddingTask

MIB = 1 << 20
RECIPE = "pack.json"
QUALITY = 92  # of WebP: the crops come out of lossy files, and are degraded far more than this by the recipe


def write_pack(recipe: EmbeddingRecipe, roots: Roots, folder: Path, *, part_mib: float = 60.0, seed: int = 0) -> int:
    """Write the pack whole; returns the number of parts, none of which is larger than `part_mib`.

    Raises:
        RecipeInvalid: The recipe has more to teach than one teacher's embedding of the clean crop, by `cosine` and
            `relations`.
        FolderTaken: The folder holds something else.
    """
    teacher = only_teacher(recipe)
    pool = gather(open_sets(roots.data, list(recipe.data.sets)), recipe.data)
    embeds = open_teacher(teacher, recipe.teachers[teacher], roots).embeds
    targets = [compute_targets(roots.runs / "targets", embeds, crops) for crops in pool.sets]
    student = EmbeddingTask(recipe, roots).student
    shown = often(pool)
    order = np.random.default_rng(seed).permutation(len(pool))  # so that any part alone is a fair sample
    with whole_folder(folder, RECIPE) as draft:
        write_weights(student, draft / "start.npz")
        (draft / RECIPE).write_text(recipe.model_dump_json(indent=2) + "\n", encoding="utf-8")
        number, start = 0, 0
        while start < len(order):
            start = _write_part(
                draft / f"part-{number:02d}.npz", pool, targets, shown, order, start, int(part_mib * MIB)
            )
            number += 1
    return number


def only_teacher(recipe: EmbeddingRecipe) -> str:
    """Name the one teacher whose embedding is regressed, by the angle and by the cosines between every two samples.

    Raises:
        RecipeInvalid: The recipe has more to teach.
    """
    names = {name for term in recipe.terms for name in term.target.teachers}
    if recipe.quantise is not None:
        raise RecipeInvalid(f"{recipe.name}: `quantise` is for last steps at home, a pack trains in single precision")
    if len(names) != 1 or not all(map(_packs, recipe.terms)) or recipe.head.kind != "none":
        raise RecipeInvalid(
            f"{recipe.name}: a pack teaches one teacher's embedding by `cosine` and `relations`, and nothing else"
        )
    return names.pop()


def _packs(term: TermSpec) -> bool:
    return (
        term.tap == "embedding"
        and isinstance(term.adapter, Identity)
        and isinstance(term.target, Same)
        and term.target.tap in (None, "embedding")
        and isinstance(term.distance, Cosine | Relations)
    )


def often(pool: Pool) -> NDArray[np.float32]:
    """How often an epoch shows each crop of a pool, on average."""
    weights = np.asarray(pool.weights, np.float64)[pool.owner]
    if pool.scarcity is not None:
        for number in range(len(pool.sets)):
            mine = pool.owner == number
            weights[mine] *= pool.scarcity[mine] / pool.scarcity[mine].mean()
    return weights.astype(np.float32)


def _write_part(
    path: Path,
    pool: Pool,
    targets: list[NDArray[np.float32]],
    shown: NDArray[np.float32],
    order: NDArray[np.int64],
    start: int,
    most: int,
) -> int:
    """Fill one part from `start` on; returns where the next one starts."""
    blobs: list[bytes] = []
    size, width = 64 << 10, 2 * targets[0].shape[1] + 16
    for place in map(int, order[start:]):
        crop = np.asarray(pool.sets[pool.owner[place]].crops[pool.row[place]])
        blob = cv2.imencode(".webp", crop[..., ::-1], [cv2.IMWRITE_WEBP_QUALITY, QUALITY])[1].tobytes()
        if blobs and size + len(blob) + width > most:
            break
        blobs.append(blob)
        size += len(blob) + width
    rows = order[start : start + len(blobs)]
    np.savez(
        path,
        data=np.frombuffer(b"".join(blobs), np.uint8),
        ends=np.cumsum([len(blob) for blob in blobs]),
        targets=np.asarray(pool.take(targets, rows), np.float16),
        shown=shown[rows],
    )
    return start + len(blobs)


def read_recipe_of(folder: Path) -> EmbeddingRecipe:
    """Read the recipe of a pack.

    Raises:
        RecipeInvalid: The folder is no pack.
    """
    try:
        return EmbeddingRecipe.model_validate(json.loads((folder / RECIPE).read_text(encoding="utf-8")))
    except (OSError, ValueError) as error:
        raise RecipeInvalid(f"{folder} is not a pack: {error}") from error
