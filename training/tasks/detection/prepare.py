"""What the detector learns from and what it is measured on."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from service.face.session import ModelSession
from training.tasks.detection.composites import Sources
from training.tasks.detection.evaluate import find_faces
from training.tasks.detection.scenes import hold_out, hold_out_folders, list_images, read_bgr
from training.tasks.detection.tiles import write_tiles

HELD_SCENES = 200
HELD_ONE_IN = 10  # portrait folders
#: A scene is drawn this often for each portrait photograph drawn once, there being fewer scenes than portraits.
SCENE_REPEAT = 5
TILES_COUNT = 10_000
#: A background is a scene in which the teacher sees nothing at this score.
EMPTY_BELOW = 0.5


@dataclass(frozen=True, slots=True)
class Photographs:
    """Ordinary `scenes`, and `portraits` in one folder per person; kept for training and held out for measuring."""

    scenes: tuple[Path, ...]
    portraits: tuple[Path, ...]
    held_scenes: tuple[Path, ...]
    held_portraits: tuple[Path, ...]


def split_photographs(scenes: Path, portraits: Path) -> Photographs:
    """List two folders and hold out 200 scenes and one person in ten, by hash of the names. Raises: SetMissing."""
    kept, held = hold_out(list_images(scenes), HELD_SCENES)
    kept_portraits, held_portraits = hold_out_folders(list_images(portraits), HELD_ONE_IN)
    return Photographs(kept, kept_portraits, held, held_portraits)


def gather_sources(photographs: Photographs, crops: Sequence[Path], teacher: ModelSession) -> Sources:
    """What tiles are composed of: kept photographs, kept scenes without faces, and folders of aligned crops."""
    empty = tuple(file for file in photographs.scenes if not find_faces(teacher, read_bgr(file), EMPTY_BELOW))
    faces = tuple(file for folder in crops for file in list_images(folder))
    return Sources(photographs.scenes * SCENE_REPEAT + photographs.portraits, empty, faces)


def prepare_tiles(
    folder: Path,
    photographs: Photographs,
    crops: Sequence[Path],
    teacher: ModelSession,
    *,
    seed: int = 7,
    count: int = TILES_COUNT,
    size: int = 320,
    watch: Callable[[range], Any] = iter,
) -> None:
    """Compose a tile set into `folder`. Raises: SetMissing, SetInvalid."""
    sources = gather_sources(photographs, crops, teacher)
    about = {
        "held_scenes": [file.name for file in photographs.held_scenes],
        "held_portraits": sorted({file.parent.name for file in photographs.held_portraits}),
    }
    write_tiles(folder, sources, seed=seed, count=count, size=size, about=about, watch=watch)
