"""Kinds of faces: groups within which strangers may resemble one another more than strangers do in general."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from training.data.crops import CropSet, Split
from training.errors import SetInvalid
from training.evaluation.subgroups import NAME, RACES

AGES = ((0, 3, "babies, 0 to 3"), (4, 12, "children, 4 to 12"), (13, 17, "teenagers, 13 to 17"))
ADULTS = ("men", "women")


@dataclass(frozen=True, slots=True)
class Kind:
    """Rows of one set whose faces are of one kind, and whose picture each is.

    `people` are identities where the set names them. UTKFace names nobody: there the minute of download stands in,
    since strangers' pictures of one minute are often one person's, and every minute is taken for a person.
    """

    name: str
    rows: NDArray[np.int64]
    people: tuple[str, ...]
    named: bool
    """Whether they are identities: only then are two pictures of one known to be of one person."""


def find_kinds(crops: CropSet, split: Split, most: int | None = None, seed: int = 0) -> tuple[Kind, ...]:
    """The kinds of a set's split: eleven of age, ancestry and sex by UTKFace's names, else one of the set's name.

    `most` bounds the pictures of a kind, drawn at random. Raises: SetInvalid when nothing is in the split.
    """
    names = kinds_of(crops.files)
    people = people_of(crops)
    if not any(names):
        names = np.full(len(crops), crops.name)
    names = np.where(crops.splits == split, names, "")
    if not any(names):
        raise SetInvalid(f"{crops.name} has no crop in its {split} split: prepare it with another share for testing")
    rng = np.random.default_rng(seed)
    kinds = []
    for name in sorted(set(names.tolist()) - {""}):
        rows = np.sort(rng.permutation(np.flatnonzero(names == name))[:most]).astype(np.int64)
        named = all(crops.identities[row] for row in rows)
        kinds.append(Kind(name, rows, tuple(people[row] for row in rows), named))
    return tuple(kinds)


def kinds_of(files: Sequence[str]) -> NDArray[np.str_]:
    """The kind of each picture named `age_gender_race_date`; '' where the name does not say."""
    return np.array([_kind(file) for file in files], dtype=np.str_)


def people_of(crops: CropSet) -> tuple[str, ...]:
    """Whose each crop is: its identity, else its minute of download by UTKFace's names, else its file."""
    return tuple(
        identity or _minute(file) or file for identity, file in zip(crops.identities, crops.files, strict=True)
    )


def _kind(file: str) -> str:
    match = NAME.match(file.rsplit("/", 1)[-1])
    if match is None:
        return ""
    age, gender, race = (int(value) for value in match.groups())
    for low, high, name in AGES:
        if low <= age <= high:
            return name
    return f"{RACES[race]} {ADULTS[gender]}" if race < len(RACES) - 1 else ""


def _minute(file: str) -> str:
    name = file.rsplit("/", 1)[-1]
    return name.rsplit(".", 1)[0].rsplit("_", 1)[-1][:12] if NAME.match(name) else ""
