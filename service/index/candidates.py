"""Candidates of an engine put in order by the database's own vectors: every engine gives the same scores."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import sqlalchemy as sa

from service.database.schema import templates
from service.database.template_seal import STORED
from service.index.base import CandidateList, Vector, distinct
from service.index.stored_templates import TemplateReader

BATCH = 1_000
_STORED = sa.select(*STORED).where(templates.c.row.in_(sa.bindparam("rows", expanding=True)))


def read(connection: sa.Connection, rows: Sequence[int]) -> dict[int, Any]:
    """Return templates by row, as far as the database still has them."""
    by_row: dict[int, Any] = {}
    for start in range(0, len(rows), BATCH):
        for entry in connection.execute(_STORED, {"rows": rows[start : start + BATCH]}):
            by_row[entry.row] = entry
    return by_row


def living(connection: sa.Connection, rows: Sequence[int | None]) -> set[int]:
    """Return those of `rows` that the database still has."""
    return set(connection.scalars(sa.select(templates.c.row).where(templates.c.row.in_(rows))))


def best(candidates: Sequence[Any], probe: Vector, k: int, reader: TemplateReader) -> CandidateList:
    """Return the best template of each of the k best subjects, of candidates with the columns `STORED`.

    Damaged ones are left out.
    """
    if not candidates:
        return CandidateList.nothing()
    sound, matrix = reader.read(candidates, len(probe))
    rows = np.array([entry.row for entry in candidates], np.int64)[sound]
    groups = np.array([entry.subject_row for entry in candidates], np.int64)[sound]
    return distinct(rows, groups, matrix @ probe, k)
