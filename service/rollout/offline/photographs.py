"""Photographs to compare models on: a folder of people, or a list of pairs."""

from __future__ import annotations

import csv
import itertools
import random
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

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
    """Files, the person each shows where that is known, and the pairs to decide."""

    files: tuple[Path, ...]
    persons: tuple[str, ...] | None
    pairs: tuple[Pair, ...]


def read_people(root: Path) -> Photographs:
    """A folder that holds a folder for each person. Pairs are drawn by a fixed seed, as many of each kind.

    Raises: PhotographsInvalid when no person has two photographs, or there is one person only.
    """
    by_person = {folder.name: _images(folder) for folder in sorted(root.iterdir()) if folder.is_dir()}
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
    return Photographs(tuple(file for file, _ in files), tuple(person for _, person in files), tuple(pairs))


def read_pairs(path: Path) -> Photographs:
    """A list of pairs. Either LFW's layout, lines of `person i j` and `person i other j` split by tabs, with the
    photographs at `person/person_0001.jpg` beside the list; or CSV with the columns `first`, `second` (files, relative
    to the list) and `genuine` (1 or 0).

    Raises: PhotographsInvalid.
    """
    try:
        lines = path.read_text(encoding="utf-8").splitlines()
    except (OSError, UnicodeDecodeError) as error:
        raise PhotographsInvalid(f"{path} cannot be read: {error}") from error
    if lines and "," in lines[0]:
        return _listed(path, lines)
    return _lfw(path, lines)


def _listed(path: Path, lines: Sequence[str]) -> Photographs:
    reader = csv.DictReader(lines)
    if set(reader.fieldnames or ()) != {"first", "second", "genuine"}:
        raise PhotographsInvalid(f"{path} needs the columns first, second and genuine")
    rows = []
    for row in reader:
        if row["genuine"] not in ("0", "1"):
            raise PhotographsInvalid(f"{path}:{reader.line_num}: genuine is 1 or 0, not {row['genuine']!r}")
        rows.append((path.parent / row["first"], path.parent / row["second"], row["genuine"] == "1"))
    return _gathered(path, rows, None)


def _lfw(path: Path, lines: Sequence[str]) -> Photographs:
    rows: list[tuple[Path, Path, bool]] = []
    persons: dict[Path, str] = {}

    def file(person: str, number: str) -> Path:
        if not number.isdigit():
            raise PhotographsInvalid(f"{path} is neither CSV nor LFW's layout: {number!r} is not a number")
        found = path.parent / person / f"{person}_{int(number):04d}.jpg"
        persons[found] = person
        return found

    for line in lines[1:]:  # the first one counts the pairs
        match line.split("\t"):
            case [person, first, second]:
                rows.append((file(person, first), file(person, second), True))
            case [person, first, other, second]:
                rows.append((file(person, first), file(other, second), False))
            case _:
                raise PhotographsInvalid(f"{path} is neither CSV nor LFW's layout: {line!r}")
    return _gathered(path, rows, persons)


def _gathered(path: Path, rows: Sequence[tuple[Path, Path, bool]], persons: dict[Path, str] | None) -> Photographs:
    if len({genuine for *_, genuine in rows}) < 2:
        raise PhotographsInvalid(f"{path} needs genuine pairs and impostor pairs")
    places: dict[Path, int] = {}
    for first, second, _ in rows:
        places.setdefault(first, len(places))
        places.setdefault(second, len(places))
    if missing := [file for file in places if not file.is_file()]:
        raise PhotographsInvalid(f"{path} names {len(missing)} files that are not there, {missing[0]} for one")
    return Photographs(
        tuple(places),
        None if persons is None else tuple(persons[file] for file in places),
        tuple(Pair(places[first], places[second], genuine) for first, second, genuine in rows),
    )


def _images(folder: Path) -> list[Path]:
    return sorted(file for file in folder.iterdir() if file.suffix.lower() in SUFFIXES)
