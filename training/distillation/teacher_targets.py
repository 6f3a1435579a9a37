"""Teacher embeddings of whole prepared sets, computed once.

A crop's target is the unit mean of the teacher's embeddings of the crop and of its mirror image, so it serves a
mirrored view as well. Files are named by the digests of teacher and data; an interrupted run goes on.
"""

from __future__ import annotations

import json
import os
from collections.abc import Iterator
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from tqdm import tqdm

from service.face.embedding.embed import Embedder
from training.atomic_folder import digest_text, write_json
from training.data.ahead import work_ahead
from training.data.crops import CropSet
from training.data.embeds import Embeds
from training.errors import SetInvalid, TeacherMismatch

CHUNK = 8
"""Crops in one call: a teacher's maps of more than a few do not stay in a core's cache (64 at once took 1.4x)."""
MARK_EVERY = 256


def targets_path(folder: Path, teacher: Embeds, crops: CropSet) -> Path:
    """Where a teacher's targets for a set lie."""
    return folder / f"{crops.name}-{digest_text(teacher.digest, crops.digest)[:16]}.npy"


def compute_targets(folder: Path, teacher: Embeds, crops: CropSet, *, progress: bool = True) -> NDArray[np.float32]:
    """Return float32 (N, dim) targets of a whole set, unit rows, from the cache or computed into it.

    Raises:
        TeacherMismatch: The teacher's output has another size than it says.
        SetInvalid: For a damaged cache.
    """
    path = targets_path(folder, teacher, crops)
    if not path.exists():
        _compute(path, teacher, crops, progress)
    try:
        values: NDArray[np.float32] = np.load(path, mmap_mode="r")
    except (OSError, ValueError) as error:
        raise SetInvalid(f"{path}: {error}; delete it and compute it again") from error
    if values.shape != (len(crops), teacher.dim):
        raise TeacherMismatch(f"{path} holds {values.shape}, expected {(len(crops), teacher.dim)}")
    return values


def flip_averaged(teacher: Embeds, crops: NDArray[np.uint8]) -> NDArray[np.float32]:
    """Unit mean of the embeddings of crops (N, 128, 128, 3) and of their mirror images."""
    both = teacher.embed(crops) + teacher.embed(np.ascontiguousarray(crops[:, :, ::-1]))
    return np.asarray(both / np.maximum(np.linalg.norm(both, axis=1, keepdims=True), 1e-12), dtype=np.float32)


def _compute(path: Path, teacher: Embeds, crops: CropSet, progress: bool) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    part, mark = path.with_suffix(".part.npy"), path.with_suffix(".part.json")
    shape = (len(crops), teacher.dim)
    if part.exists() and mark.exists():
        values = np.lib.format.open_memmap(part, mode="r+")
        done = int(json.loads(mark.read_text())["done"])
    else:
        mark.unlink(missing_ok=True)  # of an earlier part, which is gone
        values = np.lib.format.open_memmap(part, mode="w+", dtype=np.float32, shape=shape)
        done = 0
    bar = tqdm(total=len(crops), initial=done, desc=f"targets {crops.name}", unit="crop", disable=not progress)
    for start, vectors in _each_chunk(teacher, crops, done):
        chunk = crops.files[start : start + CHUNK]
        if vectors.shape[1] != teacher.dim:
            raise TeacherMismatch(f"the teacher gave {vectors.shape[1]} values, it says {teacher.dim}")
        values[start : start + len(chunk)] = vectors
        bar.update(len(chunk))
        if (start // CHUNK) % MARK_EVERY == MARK_EVERY - 1:
            values.flush()
            write_json(mark, {"done": start + len(chunk)})
    bar.close()
    values.flush()
    part.replace(path)
    mark.unlink(missing_ok=True)


def _each_chunk(teacher: Embeds, crops: CropSet, done: int) -> Iterator[tuple[int, NDArray[np.float32]]]:
    """The targets of every chunk from `done` on, in order, computed on all cores where the teacher allows it."""
    # an embedder's session runs on one thread of its own and may be called from many; others promise nothing
    workers = len(os.sched_getaffinity(0)) if isinstance(teacher, Embedder) else 1

    def work(start: int) -> tuple[int, NDArray[np.float32]]:
        return start, flip_averaged(teacher, np.ascontiguousarray(crops.crops[start : start + CHUNK]))

    starts = range(done, len(crops), CHUNK)
    if workers == 1:
        yield from map(work, starts)
        return
    yield from work_ahead(work, starts, workers, "targets")
