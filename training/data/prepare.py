"""`facet-train prepare`: pictures in, one prepared set of canonical crops out, with a report of what was dropped.

Splits are disjoint in identity: all crops of a person fall into one split, drawn from the hash of the identity, so a
set that grows keeps its splits. Crops of unknown identity are drawn one by one.
"""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from tqdm import tqdm

from service.face.detection.detect import Detector
from service.face.detection.search import Seek
from service.face.errors import ImageError
from training.data.crops import CropSet, Entry, Split, open_set, writing_set
from training.errors import SetInvalid
from training.data.faces import Cut, Which, choose, cut_face, find_landmarks, from_aligned, read
from training.data.ahead import work_ahead
from training.data.sources import Item, open_source


@dataclass(frozen=True, slots=True)
class Preparation:
    """How a set is made. `aligned`: pictures are already crops; else the `detector` cuts the face named by `which`.

    `smallest`: faces whose shorter box side has fewer pixels are dropped. `validation` and `test` are shares of
    identities. `landmarks`: aligned crops, too, get landmarks, and those without are dropped. `most`: so many crops of
    one person at most, the first there are.
    """

    aligned: bool = False
    which: Which = "largest"
    smallest: float = 24.0
    landmarks: bool = False
    most: int | None = None
    validation: float = 0.05
    test: float = 0.05
    seed: int = 0
    workers: int = 2

    def __post_init__(self) -> None:
        if self.most is not None and self.most < 1:
            raise SetInvalid("at least one crop of each person is kept")
        if min(self.validation, self.test) < 0 or self.validation + self.test > 1:
            raise SetInvalid("the shares of validation and test are not negative and sum to one at most")


def prepare(
    source: Path, target: Path, how: Preparation, detector: Detector | None, *, progress: bool = True
) -> CropSet:
    """Make a prepared set.

    Raises:
        SetMissing: There is no such set or file.
        PackInvalid: The pack cannot be read.
        SetInvalid: A set is damaged or does not hold what is needed.
    """
    if detector is None and (not how.aligned or how.landmarks):
        raise SetInvalid("photographs and landmarks need a detector: give --detector")
    pictures = open_source(source)
    dropped: Counter[str] = Counter()
    examples: dict[str, list[str]] = {}
    seen: set[bytes] = set()
    kept: Counter[str] = Counter()

    def work(item: Item) -> tuple[Item, Cut | str]:
        return item, _cut(item, how, detector)

    with writing_set(target, pictures.attribute_names) as writer:
        bar = tqdm(total=pictures.count, desc=f"prepare {target.name}", unit="face", disable=not progress)
        for item, cut in work_ahead(work, pictures.items, how.workers, "prepare", depth=8):
            bar.update()
            reason = cut if isinstance(cut, str) else ""
            if isinstance(cut, Cut):
                mark = hashlib.sha256(cut.crop.tobytes()).digest()
                reason = "the same crop again" if mark in seen else ""
                seen.add(mark)
                if not reason and item.identity and how.most is not None and kept[item.identity] >= how.most:
                    reason = f"more than {how.most} of one person"
            if reason or isinstance(cut, str):
                dropped[reason] += 1
                examples.setdefault(reason, []).append(item.file)
                continue
            kept[item.identity] += 1
            split = draw_split(item, how)
            writer.add(cut.crop, Entry(item.file, item.identity, split, cut.landmarks, item.attributes))
        bar.close()
        writer.about = {
            "made_from": source.name,
            "aligned": how.aligned,
            "shares": {"validation": how.validation, "test": how.test},
            "detector": detector.manifest.sha256 if detector is not None else None,
            "kept": len(writer),
            "dropped": {reason: {"count": n, "for_example": examples[reason][:5]} for reason, n in dropped.items()},
        }
    return open_set(target)


def draw_split(item: Item, how: Preparation) -> Split:
    """The split of an item, from the hash of its identity, or of its name where nobody knows who it is."""
    key = f"{how.seed}/{item.identity or item.file}".encode()
    place = int.from_bytes(hashlib.sha256(key).digest()[:8]) / 2**64
    if place < how.test:
        return "test"
    return "validation" if place < how.test + how.validation else "train"


def _cut(item: Item, how: Preparation, detector: Detector | None) -> Cut | str:
    """The crop of an item, or why there is none."""
    try:
        pixels = read(item.data)
        if detector is None or how.aligned:
            return _aligned(pixels, detector if how.landmarks else None)
        face = choose(detector.detect(pixels, Seek.ALL), pixels.shape[1], pixels.shape[0], how.which)
        if face is None or min(face.box[2:]) < how.smallest:
            return "no face found" if face is None else f"face smaller than {how.smallest:g} pixels"
        return cut_face(pixels, face)
    except ImageError as error:
        return f"unreadable: {error.code}"
    except ValueError as error:
        return str(error)


def _aligned(pixels: NDArray[np.uint8], detector: Detector | None) -> Cut | str:
    cut = from_aligned(pixels)
    if detector is None:
        return cut
    points = find_landmarks(cut.crop, detector)
    return Cut(cut.crop, points) if points is not None else "no landmarks found"


def describe(crops: CropSet) -> str:
    """The report, in words."""
    about = crops.about
    lines = [
        f"{crops.name}: {len(crops)} crops of {about['identities']} people, "
        + ", ".join(f"{count} {split}" for split, count in about["splits"].items()),
        f"digest {crops.digest}",
    ]
    for reason, entry in about.get("dropped", {}).items():
        lines.append(f"dropped {entry['count']}: {reason} (for example {', '.join(entry['for_example'][:2])})")
    return "\n".join(lines)
