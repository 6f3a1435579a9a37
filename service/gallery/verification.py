"""Does every index say what the database says, and does the database agree with itself?"""

from __future__ import annotations

import time
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import sqlalchemy as sa

from service.database.schema import crops, faces, subjects, templates
from service.database.timeouts import without_timeouts
from service.index import source, vectors
from service.index.base import Place, VectorIndex
from service.index.stored_templates import TemplateReader


@dataclass(frozen=True, slots=True)
class Report:
    """What was compared and how long it took; `problems` is empty when all agrees."""

    templates: int
    indexes: int
    problems: tuple[str, ...]
    seconds: float

    @property
    def sound(self) -> bool:
        """Whether nothing was found."""
        return not self.problems


def verify(connection: sa.Connection, index: VectorIndex, reader: TemplateReader) -> Report:
    """Compare index and database, in a transaction of its own, beside which nothing changes an embedded database."""
    if (
        connection.dialect.name == "postgresql"
    ):  # all statements see one state of the database, whoever writes meanwhile
        connection.exec_driver_sql("SET TRANSACTION ISOLATION LEVEL REPEATABLE READ")
    with without_timeouts(connection):
        return _verify(connection, index, reader)


def _verify(connection: sa.Connection, index: VectorIndex, reader: TemplateReader) -> Report:
    started = time.perf_counter()
    problems = _integrity(connection) if connection.dialect.name == "sqlite" else []
    for what, query in _ORPHANS.items():
        count = connection.scalar(query) or 0
        if count:
            problems.append(f"{count} {what}")
    compared = 0
    sizes = index.sizes(connection)
    known = {place: (name, digest, dim) for place, name, digest, dim, _ in source.places(connection)}
    for place, (name, digest, dim) in known.items():
        differences, count = _compare(connection, index, reader, place, dim, sizes)
        compared += count
        problems += [f"collection '{name}', model {digest[:12]}: {problem}" for problem in differences]
    for place in set(index.places(connection)) - set(known):
        count = sum(len(rows) for rows, _, _ in index.entries(connection, place))
        problems.append(
            f"an index of {count} templates has no row in the database (collection {place[0]}, model {place[1]})"
        )
    return Report(compared, len(known), tuple(problems), time.perf_counter() - started)


def _integrity(connection: sa.Connection) -> list[str]:
    """What SQLite finds wrong with its file; a database server sees to that itself."""
    problems = [
        f"integrity: {line}" for (line,) in connection.exec_driver_sql("PRAGMA integrity_check") if line != "ok"
    ]
    problems += [
        f"{child} row {row} points to a missing row of {parent}"
        for child, row, parent, _ in connection.exec_driver_sql("PRAGMA foreign_key_check").all()
    ]
    return problems


_ORPHANS: dict[str, sa.Select[Any]] = {
    "templates disagree with their face about the subject or the collection": sa.select(sa.func.count())
    .select_from(templates.join(faces, templates.c.face_row == faces.c.row))
    .where((templates.c.subject_row != faces.c.subject_row) | (templates.c.collection_row != faces.c.collection_row)),
    "faces disagree with their subject about the collection": sa.select(sa.func.count())
    .select_from(faces.join(subjects, faces.c.subject_row == subjects.c.row))
    .where(faces.c.collection_row != subjects.c.collection_row),
    "faces have no template": sa.select(sa.func.count())
    .select_from(faces)
    .where(~sa.exists().where(templates.c.face_row == faces.c.row)),
    "crops have no face": sa.select(sa.func.count())
    .select_from(crops)
    .where(~sa.exists().where(faces.c.row == crops.c.face_row)),
}


def _compare(
    connection: sa.Connection,
    index: VectorIndex,
    reader: TemplateReader,
    place: Place,
    dim: int,
    sizes: Mapping[Place, tuple[int, int]],
) -> tuple[list[str], int]:
    """What is wrong with one index and its templates, and how many of these were compared."""
    living = source.template_rows(connection, place)
    sound = [np.empty(0, np.int64)]
    sound += [rows for rows, _, _ in source.read_templates(connection, reader, place, dim, living)]
    damaged = np.setdiff1d(living, np.concatenate(sound))
    parts = [np.empty(0, np.int64)]
    wrong = 0
    for rows, groups, matrix in index.entries(connection, place):
        parts.append(rows)
        common = np.sort(rows[np.isin(rows, living)])
        stored: dict[int, tuple[int, bytes]] = {}
        for part, persons, templates_held in source.read_templates(connection, reader, place, dim, common):
            stored |= {
                row: (person, vectors.pack(vector))
                for row, person, vector in zip(part.tolist(), persons.tolist(), templates_held, strict=True)
            }
        for row, group, vector in zip(rows.tolist(), groups.tolist(), matrix, strict=True):
            if row in stored and stored[row] != (group, vectors.pack(vector)):
                wrong += 1
    held = np.concatenate(parts)
    problems = [_name(connection, row) for row in damaged.tolist()]
    missing, foreign = np.setdiff1d(np.setdiff1d(living, damaged), held), np.setdiff1d(held, living)
    if len(missing):
        problems.append(f"{len(missing)} templates are missing in the index")
    if len(foreign):
        problems.append(f"{len(foreign)} vectors of the index are not in the database")
    if len(held) != len(np.unique(held)):
        problems.append(f"{len(held) - len(np.unique(held))} vectors are in the index more than once")
    if (count := sizes.get(place, (0, 0))[0]) != len(held):
        problems.append(f"the index counts {count} vectors and holds {len(held)}")
    if wrong:
        problems.append(f"{wrong} vectors of the index differ from the database")
    return problems, len(living)


def _name(connection: sa.Connection, row: int) -> str:
    """Say of which face and person a damaged template is, by their ids."""
    query = (
        sa.select(faces.c.id, subjects.c.id)
        .select_from(templates.join(faces, templates.c.face_row == faces.c.row))
        .join(subjects, faces.c.subject_row == subjects.c.row)
        .where(templates.c.row == row)
    )
    face_id, subject_id = connection.execute(query).one_or_none() or ("unknown", "unknown")
    return f"a damaged template is left out: face {face_id} of subject {subject_id}; erase the face and enrol it again"
