"""What a report is made from: photographs of known people, or a protocol of pairs, and groups that people belong to."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from service.measures.tables import TableInvalid, read_table
from service.rollout.offline.errors import PhotographsInvalid
from service.rollout.offline.photographs import Pair, images_in, read_pairs

FOLDER = "folder"
"""The attribute that a folder above those of the people gives them."""
MOST_GROUPS = 30


@dataclass(frozen=True, slots=True)
class Study:
    """Photographs, by places 0..N-1.

    Attributes:
        source: The folder or the protocol.
        files: The photographs.
        ids: What they are called in the report: their places below the folder, or beside the protocol.
        persons: Who each shows.
        named: Whether the source says so; otherwise photographs that genuine pairs join are one person's.
        pairs: The comparisons to make; None for each with each.
        groups: By attribute, the group of each photograph; '' where nothing is said.
    """

    source: Path
    files: tuple[Path, ...]
    ids: tuple[str, ...]
    persons: tuple[str, ...]
    named: bool
    pairs: tuple[Pair, ...] | None
    groups: Mapping[str, tuple[str, ...]]


def read_folder(root: Path, *, grouped: bool = False) -> Study:
    """Read a folder that holds a folder for each person; `grouped`, for each group with those of its people.

    Raises:
        PhotographsInvalid: There are fewer than two photographs, or no folders of people.
    """
    parts = [part for part in sorted(root.iterdir()) if part.is_dir()] if grouped else [root]
    rows = [
        (file, person.name if not grouped else f"{part.name}/{person.name}", part.name)
        for part in parts
        for person in sorted(part.iterdir())
        if person.is_dir()
        for file in images_in(person)
    ]
    if len(rows) < 2:
        above = "a folder for each group, and in it " if grouped else ""
        raise PhotographsInvalid(f"{root} needs {above}a folder for each person with photographs, at least two in all")
    files, persons, groups = zip(*rows, strict=True)
    ids = tuple(file.relative_to(root).as_posix() for file in files)
    return Study(root, files, ids, persons, True, None, {FOLDER: groups} if grouped else {})


def read_protocol(path: Path) -> Study:
    """Read a list of pairs, as `facet compare` does: CSV with `first`, `second`, `genuine`, or LFW's layout.

    Raises:
        PhotographsInvalid: It is neither, or names files that are not there.
    """
    photographs = read_pairs(path)
    named = photographs.persons is not None
    persons = photographs.persons or _joined(len(photographs.files), photographs.pairs)
    ids = tuple(_called(file, path.parent) for file in photographs.files)
    return Study(path, photographs.files, ids, persons, named, photographs.pairs, {})


def add_attributes(study: Study, path: Path, chosen: Sequence[str] = ()) -> Study:
    """Read groups from CSV: a column `file` or `person` says of whom, every other one is an attribute.

    Args:
        study: Whose photographs they are of; files are named as in the report.
        path: Of the CSV.
        chosen: The attributes to take; all by default.

    Raises:
        PhotographsInvalid: The file is no such CSV, fits no photograph, lacks a column, or one holds too many groups.
    """
    try:
        columns, rows = read_table(path.read_text(encoding="utf-8-sig"))
    except (OSError, UnicodeDecodeError, TableInvalid) as error:
        raise PhotographsInvalid(f"{path} cannot be read: {error}") from error
    key = next((name for name in ("file", "person") if name in columns), None)
    if key is None:
        raise PhotographsInvalid(f"{path} needs a column file or person")
    attributes = list(chosen) or [name for name in columns if name not in ("file", "person")]
    if missing := [name for name in attributes if name not in columns]:
        raise PhotographsInvalid(f"{path} has no column {', '.join(missing)}; it has {', '.join(columns)}")
    by_key = {row[key]: row for _, row in rows}
    matches = [by_key.get(name) for name in (study.ids if key == "file" else study.persons)]
    if not any(matches):
        raise PhotographsInvalid(f"the {key}s of {path} are none of the study's, {study.ids[0]} for one")
    groups = {
        name: tuple((row[name] or "").strip() if row is not None else "" for row in matches) for name in attributes
    }
    for name, values in groups.items():
        if (count := len(set(values) - {""})) > MOST_GROUPS:
            raise PhotographsInvalid(
                f"{path}: {name} has {count} values, at most {MOST_GROUPS} are groups: put it into bands"
            )
    return replace(study, groups={**study.groups, **groups})


def count_contradictions(study: Study) -> int:
    """Count pairs of a protocol that are of two people though other pairs say that they are of one."""
    return sum(
        not pair.genuine and study.persons[pair.first] == study.persons[pair.second] for pair in study.pairs or ()
    )


def _joined(count: int, pairs: Iterable[Pair]) -> tuple[str, ...]:
    """Photographs that genuine pairs join, directly or through others, are one person's."""
    parent = np.arange(count)

    def root(place: int) -> int:
        while parent[place] != place:
            parent[place] = parent[parent[place]]
            place = int(parent[place])
        return place

    for pair in pairs:
        if pair.genuine:
            parent[root(pair.first)] = root(pair.second)
    return tuple(f"person of photograph {root(place)}" for place in range(count))


def _called(file: Path, beside: Path) -> str:
    return file.relative_to(beside).as_posix() if file.is_relative_to(beside) else str(file)
