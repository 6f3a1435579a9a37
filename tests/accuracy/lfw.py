"""The LFW development view, read as its authors lay it out."""

from __future__ import annotations

import tarfile
from dataclasses import dataclass
from pathlib import Path

import numpy as np

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


def choose_threshold(scores: np.ndarray, genuine: np.ndarray) -> float:
    """The threshold of highest accuracy; the middle of the best range where several are equal."""
    edges = np.concatenate([[-1.0], np.sort(scores), [1.0]])
    middles = (edges[1:] + edges[:-1]) / 2
    accuracy = np.array([accuracy_at(scores, genuine, t) for t in middles])
    best = np.flatnonzero(accuracy == accuracy.max())
    return float(middles[best[len(best) // 2]])


def accuracy_at(scores: np.ndarray, genuine: np.ndarray, threshold: float) -> float:
    """Share of pairs decided rightly at a threshold."""
    return float(((scores >= threshold) == genuine).mean())


def _photo(root: Path, person: str, index: str) -> Path:
    return root / person / f"{person}_{int(index):04d}.jpg"
