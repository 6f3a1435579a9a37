"""Does every index say what the record says, and does the record agree with itself?"""

from __future__ import annotations

import time
from dataclasses import dataclass
from typing import Any

import numpy as np
import sqlalchemy as sa

from service.gallery import queries, vectors
from service.gallery.index import Rows
from service.gallery.queries import Place
from service.gallery.schema import crops, faces, subjects, templates
from service.gallery.sealing import template_place
from service.gallery.shelf import Shelf


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


def verify(connection: sa.Connection, shelf: Shelf) -> Report:
    """Compare. The caller sees to it that nothing changes meanwhile."""
    started = time.perf_counter()
    problems = [
        f"integrity: {line}" for (line,) in connection.exec_driver_sql("PRAGMA integrity_check") if line != "ok"
    ]
    problems += [
        f"{child} row {row} points to a missing row of {parent}"
        for child, row, parent, _ in connection.exec_driver_sql("PRAGMA foreign_key_check").all()
    ]
    for what, query in _ORPHANS.items():
        count = connection.scalar(query) or 0
        if count:
            problems.append(f"{count} {what}")
    compared = 0
    known = {place: (name, digest, dim) for place, name, digest, dim, _ in queries.places(connection)}
    for place, (name, digest, dim) in known.items():
        found, count = _compare(connection, shelf, place, dim)
        compared += count
        problems += [f"collection '{name}', model {digest[:12]}: {problem}" for problem in found]
    for place, index in shelf.items():
        if place not in known and len(index):
            problems.append(
                f"an index of {len(index)} templates has no record (collection {place[0]}, model {place[1]})"
            )
    return Report(compared, len(known), tuple(problems), time.perf_counter() - started)


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


def _compare(connection: sa.Connection, shelf: Shelf, place: Place, dim: int) -> tuple[list[str], int]:
    """What is wrong with one index, and how many templates were compared."""
    record = queries.template_rows(connection, place)
    index = shelf.get(place)
    if index is None:
        return [f"{len(record)} templates are in no index"], len(record)
    held = index.rows()
    problems = []
    missing, foreign = np.setdiff1d(record, held), np.setdiff1d(held, record)
    if len(missing):
        problems.append(f"{len(missing)} templates are missing in the index")
    if len(foreign):
        problems.append(f"{len(foreign)} vectors of the index are not in the record")
    if len(index) != len(held):
        problems.append(f"the index counts {len(index)} vectors and holds {len(held)}")
    wrong = 0
    for rows, groups, matrix in index.entries():
        stored = {
            found.row: (
                found.subject_row,
                shelf.keyring.open(found.vector, found.key_id, template_place(found.face_row, place[1])),
            )
            for found in _read(connection, place, rows)
        }
        for row, group, vector in zip(rows.tolist(), groups.tolist(), matrix, strict=True):
            if row in stored and stored[row] != (group, vectors.pack(vector)):
                wrong += 1
    if wrong:
        problems.append(f"{wrong} vectors of the index differ from the record")
    return problems, len(record)


def _read(connection: sa.Connection, place: Place, rows: Rows) -> sa.CursorResult[Any]:
    return connection.execute(
        sa.select(templates).where(
            templates.c.collection_row == place[0],
            templates.c.model_row == place[1],
            templates.c.row.between(int(rows.min()), int(rows.max())),
        )
    )
