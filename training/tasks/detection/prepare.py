"""What the detector learns from and what it is measured on."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from service.face.session import ModelSession
from training.errors import SetMissing
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
#: A scene without people alarms the teacher from this score on.
ALARM_FROM = 0.2
#: Names of Flickr8k's photographs that show no person's face, picked by eye from 800.
UNPEOPLED = Path(__file__).with_name("unpeopled.txt")


@dataclass(frozen=True, slots=True)
class Photographs:
    """Ordinary `scenes`, and `portraits` in one folder per person; kept for training and held out for measuring."""

    scenes: tuple[Path, ...]
    portraits: tuple[Path, ...]
    held_scenes: tuple[Path, ...]
    held_portraits: tuple[Path, ...]


def split_photographs(scenes: Path, portraits: Path | None = None) -> Photographs:
    """List two folders and hold out 200 scenes and one person in ten, by hash of the names. Raises: SetMissing."""
    kept, held = hold_out(list_images(scenes), HELD_SCENES)
    if portraits is None:
        return Photographs(kept, (), held, ())
    kept_portraits, held_portraits = hold_out_folders(list_images(portraits), HELD_ONE_IN)
    return Photographs(kept, kept_portraits, held, held_portraits)


def read_names(file: Path) -> frozenset[str]:
    """The lines of a text file. Raises: SetMissing."""
    try:
        return frozenset(file.read_text(encoding="utf-8").split())
    except OSError as error:
        raise SetMissing(f"{file}: {error.strerror or 'cannot be read'}; give a list of names, one a line") from error


def gather_sources(
    photographs: Photographs, crops: Sequence[Path], teacher: ModelSession, unpeopled: frozenset[str] = frozenset()
) -> Sources:
    """What tiles are composed of: kept photographs, kept scenes without faces, and folders of aligned crops.

    `unpeopled` names scenes without people. Those of them in which the teacher sees a face are what it has to unlearn.
    """
    scores = {
        file: max((face.score for face in find_faces(teacher, read_bgr(file), ALARM_FROM)), default=0.0)
        for file in photographs.scenes
    }
    alarming = tuple(file for file, score in scores.items() if score >= ALARM_FROM and file.name in unpeopled)
    empty = tuple(file for file, score in scores.items() if score < EMPTY_BELOW and file not in alarming)
    faces = tuple(file for folder in crops for file in list_images(folder))
    # shown among the scenes, they would be labelled as the teacher takes them
    scenes = tuple(file for file in photographs.scenes if file not in alarming)
    return Sources(scenes * SCENE_REPEAT + photographs.portraits, empty, faces, alarming)


def prepare_tiles(
    folder: Path,
    photographs: Photographs,
    crops: Sequence[Path],
    teacher: ModelSession,
    *,
    seed: int = 7,
    count: int = TILES_COUNT,
    size: int = 320,
    unpeopled: frozenset[str] = frozenset(),
    watch: Callable[[range], Any] = iter,
) -> None:
    """Compose a tile set into `folder`. Raises: SetMissing, SetInvalid."""
    sources = gather_sources(photographs, crops, teacher, unpeopled)
    about = {
        "held_scenes": [file.name for file in photographs.held_scenes],
        "held_portraits": sorted({file.parent.name for file in photographs.held_portraits}),
    }
    write_tiles(folder, sources, seed=seed, count=count, size=size, about=about, watch=watch)
