"""The LFW development view, read as its authors lay it out."""

from __future__ import annotations

import tarfile
from dataclasses import dataclass
from pathlib import Path

from tests.conftest import SHARED


@dataclass(frozen=True, slots=True)
class Pair:
    """Two photographs, and whether they show one person."""

    first: Path
    second: Path
    genuine: bool


def unpack(target: Path) -> Path:
    """Unpack the development view. Returns its folder."""
    with tarfile.open(SHARED / "data" / "lfw_view1.tar") as archive:
        archive.extractall(target, filter="data")
    return target


def read_pairs(root: Path, name: str) -> list[Pair]:
    """Read `pairsDevTrain.txt` or `pairsDevTest.txt`: `name i j` is genuine, `name i other j` an impostor pair."""
    pairs = []
    for line in (root / name).read_text().splitlines()[1:]:
        match line.split("\t"):
            case [person, i, j]:
                pairs.append(Pair(_photo(root, person, i), _photo(root, person, j), True))
            case [person, i, other, j]:
                pairs.append(Pair(_photo(root, person, i), _photo(root, other, j), False))
    return pairs


def _photo(root: Path, person: str, index: str) -> Path:
    return root / person / f"{person}_{int(index):04d}.jpg"
