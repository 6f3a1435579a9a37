"""Photographs to compare models on: a folder of people, or a list of pairs."""

from __future__ import annotations

import itertools
import random
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from service.measures.lfw import LfwListInvalid, LfwPhotograph, parse_lfw_pairs
from service.measures.tables import TableInvalid, read_table
from service.measures.thresholds import assign_folds
from service.rollout.offline.errors import PhotographsInvalid

SUFFIXES = frozenset({".jpg", ".jpeg", ".png", ".webp", ".bmp", ".gif", ".tif", ".tiff"})
SEED = 20300101
MOST_PAIRS = 5000
"""Genuine pairs drawn from a folder of people, and as many impostor pairs."""


@dataclass(frozen=True, slots=True)
class Pair:
    """Two photographs by their places in the list, and whether they show one person."""

    first: int
    second: int
    genuine: bool


@dataclass(frozen=True, slots=True)
class Photographs:
    """Files, the person each shows where that is known, the pairs to decide, and the fold of each pair, (N,)."""

    files: tuple[Path, ...]
    persons: tuple[str, ...] | None
    pairs: tuple[Pair, ...]
    folds: NDArray[np.int64] = field(compare=False)


def read_people(root: Path) -> Photographs:
    """A folder that holds a folder for each person. Pairs are drawn by a fixed seed, as many of each kind.

    Raises: PhotographsInvalid when no person has two photographs, or there is one person only.
    """
    by_person = {folder.name: images_in(folder) for folder in sorted(root.iterdir()) if folder.is_dir()}
    files = [(file, person) for person, images in by_person.items() for file in images]
    places: dict[str, list[int]] = {}
    for place, (_, person) in enumerate(files):
        places.setdefault(person, []).append(place)
    genuine = [pair for own in places.values() for pair in itertools.combinations(own, 2)]
    if not genuine or len(places) < 2:
        raise PhotographsInvalid(
            f"{root} needs a folder for each person, at least two of them, and one with two photographs"
        )
    chance = random.Random(SEED)  # noqa: S311 - a sample, not a secret
    genuine = chance.sample(genuine, min(len(genuine), MOST_PAIRS))
    strangers: set[tuple[int, int]] = set()
    possible = len(files) * (len(files) - 1) // 2 - sum(len(own) * (len(own) - 1) // 2 for own in places.values())
    while len(strangers) < min(len(genuine), possible):
        first, second = sorted(chance.sample(range(len(files)), 2))
        if files[first][1] != files[second][1]:
            strangers.add((first, second))
    pairs = [Pair(*pair, True) for pair in genuine] + [Pair(*pair, False) for pair in sorted(strangers)]
    return Photographs(
        tuple(file for file, _ in files), tuple(person for _, person in files), tuple(pairs), _assign_folds(pairs)
    )


def read_pairs(path: Path) -> Photographs:
    """Read a list of pairs.

    Either LFW's layout, lines of `person i j` and `person i other j`, with the photographs at
    `person/person_0001.jpg` beside the list; or CSV with the columns `first`, `second` (files, relative to the list)
    and `genuine` (1 or 0). Folds are the list's own, or else the i-th genuine and impostor pair go to fold i mod 10.

    Raises: PhotographsInvalid.
    """
    try:
        text = path.read_text(encoding="utf-8-sig")  # spreadsheets begin a file with a mark
    except (OSError, UnicodeDecodeError) as error:
        raise PhotographsInvalid(f"{path} cannot be read: {error}") from error
    if "," in text.partition("\n")[0]:
        return _listed(path, text)
    return _lfw(path, text)


def _listed(path: Path, text: str) -> Photographs:
    try:
        table = read_table(text)
    except TableInvalid as error:
        raise PhotographsInvalid(f"{path}: {error}") from error
    if set(table.columns) != {"first", "second", "genuine"}:
        raise PhotographsInvalid(f"{path} needs the columns first, second and genuine")
    rows = []
    for line, row in table.rows:
        if row["genuine"] not in ("0", "1"):
            raise PhotographsInvalid(f"{path}:{line}: genuine is 1 or 0, not {row['genuine']!r}")
        rows.append((path.parent / row["first"], path.parent / row["second"], row["genuine"] == "1"))
    return _gathered(path, rows, None)


def _lfw(path: Path, text: str) -> Photographs:
    try:
        listed = parse_lfw_pairs(text)
    except LfwListInvalid as error:
        raise PhotographsInvalid(f"{path} is neither CSV nor LFW's layout: {error}") from error
    persons: dict[Path, str] = {}

    def file(photograph: LfwPhotograph) -> Path:
        place = path.parent / f"{photograph.stem}.jpg"
        persons[place] = photograph.person
        return place

    pairs = zip(listed.pairs, listed.genuine.tolist(), strict=True)
    rows = [(file(first), file(second), genuine) for (first, second), genuine in pairs]
    return _gathered(path, rows, persons, listed.folds)


def _gathered(
    path: Path,
    rows: Sequence[tuple[Path, Path, bool]],
    persons: dict[Path, str] | None,
    folds: NDArray[np.int64] | None = None,
) -> Photographs:
    if len({genuine for *_, genuine in rows}) < 2:
        raise PhotographsInvalid(f"{path} needs genuine pairs and impostor pairs")
    places: dict[Path, int] = {}
    for first, second, _ in rows:
        places.setdefault(first, len(places))
        places.setdefault(second, len(places))
    if missing := [file for file in places if not file.is_file()]:
        raise PhotographsInvalid(f"{path} names {len(missing)} files that are not there, {missing[0]} for one")
    pairs = tuple(Pair(places[first], places[second], genuine) for first, second, genuine in rows)
    return Photographs(
        tuple(places),
        None if persons is None else tuple(persons[file] for file in places),
        pairs,
        folds if folds is not None else _assign_folds(pairs),
    )


def _assign_folds(pairs: Sequence[Pair]) -> NDArray[np.int64]:
    return assign_folds(np.array([pair.genuine for pair in pairs], dtype=np.bool_))


def images_in(folder: Path) -> list[Path]:
    """The photographs of a folder, by their suffixes and in the order of their names."""
    return sorted(file for file in folder.iterdir() if file.suffix.lower() in SUFFIXES)
