"""Searches by normalised scores on an index of cosines: candidates by cosine, ranked by the score that decides.

A normalised score is a cosine, lowered by what belongs to each of its two templates (see
`service.face.embedding.normalisation`). It is never above the cosine, so whoever reaches a score reaches it by the
cosine as well: a search goes down the index's list until nobody who is further down could be among the best or above
what matters. That holds on every engine, and a model's new normalisation needs no index made anew.
"""

from __future__ import annotations

import math
from collections.abc import Iterable
from typing import Any, NamedTuple

import numpy as np
import sqlalchemy as sa

from service.database.schema import faces, templates
from service.database.template_seal import STORED
from service.index.base import CandidateList, Matrix, Place, Rows, Vector, VectorIndex, distinct
from service.index.scoring import Scoring
from service.index.stored_templates import TemplateReader

NEAREST, LISTED, DEEPEST = 4, 8, 2048
"""Subjects whose templates are read first, those that the index lists first, and the most that are looked at."""
AT_ONCE = 500  # subjects a statement

_OF_SUBJECTS = (
    sa.select(*STORED)
    .join(faces, templates.c.face_row == faces.c.row)
    .where(faces.c.subject_row.in_(sa.bindparam("subjects", expanding=True)))
    .where(templates.c.model_row == sa.bindparam("model"), templates.c.subject_row == faces.c.subject_row)
)


class Ranked(NamedTuple):
    """The best of every probe; `unknown` says that the index listed a template that the database does not hold."""

    results: list[CandidateList]
    unknown: bool


def search(
    connection: sa.Connection,
    index: VectorIndex,
    reader: TemplateReader,
    place: Place,
    dim: int,
    probes: Matrix,
    k: int,
    scoring: Scoring,
) -> Ranked:
    """For each of (Q,D) probes the k subjects with the highest normalised score, each once with its best template."""
    depth, listed = max(NEAREST, k + 1), max(LISTED, 2 * k)
    lists = index.search(connection, place, probes, listed)
    read = _Templates(connection, reader, place[1], dim, scoring)
    while True:
        read.add({int(group) for result in lists for group in result.groups[:depth]})
        results = [
            read.rank(result.groups[:depth], probe, float(own), k)
            for result, probe, own in zip(lists, probes, scoring.own, strict=True)
        ]
        if depth >= DEEPEST or all(
            _is_settled(_beyond(result, depth, listed) + float(own), ranked, k, scoring.least)
            for result, ranked, own in zip(lists, results, scoring.own, strict=True)
        ):
            return Ranked(results, unknown=read.lack(result.rows[:depth] for result in lists))
        if depth == listed:
            listed = min(4 * listed, DEEPEST)
            lists = index.search(connection, place, probes, listed)
        depth = listed


def _beyond(result: CandidateList, depth: int, listed: int) -> float:
    """The highest cosine that somebody can have who is not among the first `depth` of a list."""
    if len(result.rows) > depth:
        return float(result.scores[depth])
    return float(result.scores[-1]) if len(result.rows) == listed else -math.inf


def _is_settled(beyond: float, ranked: CandidateList, k: int, least: float) -> bool:
    """Whether nobody of a score up to `beyond` can be among the k best, or reach what matters."""
    return beyond < least or beyond == -math.inf or (len(ranked.rows) >= k and beyond <= float(ranked.scores[k - 1]))


class _Templates:
    """All sound templates of a model that the subjects of a search have, read from the database as they are needed."""

    def __init__(
        self, connection: sa.Connection, reader: TemplateReader, model: int, dim: int, scoring: Scoring
    ) -> None:
        self._connection, self._reader, self._model, self._scoring = connection, reader, model, scoring
        self._subjects: set[int] = set()
        self._held: set[int] = set()
        self._rows, self._groups = np.empty(0, np.int64), np.empty(0, np.int64)
        self._vectors, self._offsets = np.empty((0, dim), np.float32), np.empty(0, np.float32)

    def add(self, subjects: set[int]) -> None:
        """Read those of more subjects."""
        new = sorted(subjects - self._subjects)
        self._subjects |= subjects
        entries: list[Any] = []
        for start in range(0, len(new), AT_ONCE):
            values = {"subjects": new[start : start + AT_ONCE], "model": self._model}
            entries += self._connection.execute(_OF_SUBJECTS, values).all()
        self._held.update(entry.row for entry in entries)
        if not entries:
            return
        sound, matrix = self._reader.read(entries, self._vectors.shape[1])
        rows = np.array([entry.row for entry in entries], np.int64)[sound]
        groups = np.array([entry.subject_row for entry in entries], np.int64)[sound]
        self._rows, self._groups = np.append(self._rows, rows), np.append(self._groups, groups)
        self._vectors = np.concatenate([self._vectors, matrix])
        if len(matrix):
            self._offsets = np.append(self._offsets, self._scoring.offsets(matrix))

    def lack(self, lists: Iterable[Rows]) -> bool:
        """Whether the database holds not all of the templates in some lists of their rows, sound or not."""
        return any(not self._held.issuperset(rows.tolist()) for rows in lists)

    def rank(self, subjects: Rows, probe: Vector, own: float, k: int) -> CandidateList:
        """The k best of some subjects, each with its best template, for a probe (D,) with its own offset."""
        mine = np.isin(self._groups, subjects)
        scores = self._vectors[mine] @ probe + self._offsets[mine] + own
        return distinct(self._rows[mine], self._groups[mine], np.asarray(scores, np.float32), k)
