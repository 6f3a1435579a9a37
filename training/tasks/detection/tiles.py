"""Tile sets: composed once, memory mapped while training, labelled by the teacher at every step.

A tile set is a folder::

    tiles.npy   uint8 (N, S, S, 3), BGR
    bare.npy    bool (N,): tiles known to show no face, whatever the teacher takes for one
    set.json    the seed, what it was composed of, what was held out, and the digest
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from service.face.detection.detection import Detection, decode, suppress
from training.atomic_folder import whole_folder
from training.data.batch import Batch
from training.errors import RecipeInvalid, SetInvalid, SetMissing
from training.tasks.detection.composites import Sources, compose_tile, is_bare
from training.tasks.detection.corruptions import spoil
from training.tasks.detection.cover import cover
from training.tasks.detection.networks.student import OBJ
from training.tasks.detection.teacher import DenseTeacher, split_rows

#: Faces that the teacher scores at least so are masked; boxes overlapping more than NMS_IOU are one face.
SURE, NMS_IOU = 0.6, 0.3


@dataclass(frozen=True, slots=True)
class TileSet:
    """`tiles`: uint8 (N, S, S, 3), BGR; `bare`: bool (N,), those known to show no face."""

    name: str
    digest: str
    tiles: NDArray[np.uint8]
    bare: NDArray[np.bool_]


def write_tiles(
    folder: Path,
    sources: Sources,
    *,
    seed: int,
    count: int,
    size: int = 320,
    about: Mapping[str, Any] | None = None,
    watch: Callable[[range], Any] = iter,
) -> None:
    """Compose tiles 0 to `count` into `folder`, which appears only when complete. `watch` may wrap the loop (tqdm).

    Raises: SetInvalid for an image that cannot be decoded, FolderTaken where the folder is none of tiles.
    """
    with whole_folder(folder, "set.json") as draft:
        tiles = np.lib.format.open_memmap(draft / "tiles.npy", "w+", np.uint8, (count, size, size, 3))
        bare = np.array([is_bare(sources, seed, index) for index in range(count)], np.bool_)
        digest = hashlib.sha256()
        for index in watch(range(count)):
            tiles[index] = compose_tile(sources, seed, index, size)
            digest.update(tiles[index].tobytes())
        tiles.flush()
        digest.update(bare.tobytes())
        np.save(draft / "bare.npy", bare)
        about_set = {
            "schema": 1,
            "digest": digest.hexdigest(),
            "seed": seed,
            "tiles": count,
            "size": size,
            "scenes": len(sources.scenes),
            "empty": len(sources.empty),
            "alarming": len(sources.alarming),
            "crops": len(sources.crops),
            **(about or {}),
        }
        (draft / "set.json").write_text(json.dumps(about_set, indent=2) + "\n", encoding="utf-8")


def open_tiles(folder: Path) -> TileSet:
    """Open a tile set. Raises: SetMissing, SetInvalid."""
    if not (folder / "set.json").is_file():
        raise SetMissing(f"{folder} is not a tile set: run `facet-train detector-tiles` into it first")
    try:
        about = json.loads((folder / "set.json").read_text(encoding="utf-8"))
        tiles = np.load(folder / "tiles.npy", mmap_mode="r")
        bare = np.load(folder / "bare.npy")
        digest, count, size = str(about["digest"]), int(about["tiles"]), int(about["size"])
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise SetInvalid(f"{folder}: {error}; prepare the tiles again") from error
    if tiles.dtype != np.uint8 or tiles.shape != (count, size, size, 3):
        raise SetInvalid(f"{folder}: tiles.npy is {tiles.dtype} {tiles.shape}, set.json says {count} of {size} px")
    if bare.dtype != np.bool_ or bare.shape != (count,):
        raise SetInvalid(f"{folder}: bare.npy is {bare.dtype} {bare.shape}, set.json says {count} tiles")
    return TileSet(folder.name, digest, tiles, bare)


class TileSource:
    """Batches of `x`, float32 (N, 3, C, C) BGR 0-255, and `rows`, what the teacher answers to these pixels.

    `stress` (N,) float32 is `bare` for bare tiles, and 1 for others.

    Each time a tile is shown it is cut, mirrored and re-lit anew. With probability `degrade` the student then sees
    it worse than its teacher: what a face is stays known when light or camera hide it from the teacher as well. With
    probability `cover` the faces are masked for the student alone. In bare tiles there is no face, whatever the
    teacher says.
    """

    def __init__(
        self,
        tiles: TileSet,
        teacher: DenseTeacher,
        crop: int,
        degrade: float = 0.0,
        cover: float = 0.0,
        bare: float = 1.0,
    ) -> None:
        """Raises: RecipeInvalid when tiles cannot be cut to `crop`."""
        side = tiles.tiles.shape[1]
        if crop % 32 or not 32 <= crop <= side:
            raise RecipeInvalid(f"crop: {crop} px must be a multiple of 32 and at most the tiles' {side}")
        self._tiles, self._bare, self._teacher, self._crop = tiles.tiles, tiles.bare, teacher, crop
        self._degrade, self._cover, self._stress = degrade, cover, bare

    def order(self, epoch: int, seed: int) -> NDArray[np.int64]:
        """A shuffled epoch."""
        return np.random.default_rng([seed, 7, epoch]).permutation(len(self._tiles))

    def batch(self, indices: NDArray[np.int64], rng: np.random.Generator) -> Batch:
        """The arrays of one batch."""
        cuts = np.stack([self._cut(self._tiles[index], rng) for index in indices])
        rows = self._teacher.rows(cuts)
        rows[self._bare[indices], :, : OBJ.stop] = 0.0
        covers = rng.random(len(cuts)) < self._cover
        seen = [
            cover(cut, self._faces(own), rng) if hidden else cut
            for cut, own, hidden in zip(cuts, rows, covers, strict=True)
        ]
        seen = [spoil(cut, rng) if rng.random() < self._degrade else cut for cut in seen]
        return {
            "x": np.ascontiguousarray(np.stack(seen).transpose(0, 3, 1, 2), np.float32),
            "rows": rows,
            "stress": np.where(self._bare[indices], self._stress, 1.0).astype(np.float32),
        }

    def _faces(self, rows: NDArray[np.float32]) -> list[Detection]:
        return suppress(decode(split_rows(rows, self._crop), self._crop, self._crop, SURE), NMS_IOU)

    def _cut(self, tile: NDArray[np.uint8], rng: np.random.Generator) -> NDArray[np.uint8]:
        top, left = rng.integers(0, tile.shape[0] - self._crop + 1, 2)
        cut = tile[top : top + self._crop, left : left + self._crop]
        if rng.random() < 0.5:
            cut = cut[:, ::-1]
        gain, lift = rng.uniform(0.7, 1.3), rng.uniform(-25, 25)
        if rng.random() < 0.5:
            cut = np.clip(cut.astype(np.float32) * gain + lift, 0, 255).astype(np.uint8)
        return cut
