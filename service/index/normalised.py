"""Searches by normalised scores on an index of cosines: candidates by cosine, ranked by the score that decides.

A normalised score is a cosine, lowered by what belongs to each of its two templates (see
`service.face.embedding.normalisation`). It is never above the cosine, so whoever reaches a score reaches it by the
cosine as well: a search goes down the index's list until nobody who is further down could be among the best or above
what matters. That holds on every engine, and a model's new normalisation needs no index made anew.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import sqlalchemy as sa

from service.database.schema import faces, templates
from service.database.template_seal import STORED
from service.index.base import CandidateList, Matrix, Place, Rows, VectorIndex, distinct
from service.index.scoring import Scoring
from service.index.stored_templates import TemplateReader

DEPTH, DEEPEST = 8, 2048  # subjects that are looked at first, and at most: a look costs by the templates it reads
AT_ONCE = 500  # subjects a statement


def search(
    connection: sa.Connection,
    index: VectorIndex,
    reader: TemplateReader,
    place: Place,
    dim: int,
    probes: Matrix,
    k: int,
    scoring: Scoring,
) -> list[CandidateList]:
    """For each of (Q,D) probes the k subjects with the highest normalised score, each once with its best template."""
    depth = max(DEPTH, 2 * k)
    while True:
        lists = index.search(connection, place, probes, depth)
        rows, groups, stored = _templates(connection, reader, place, dim, lists)
        offsets = scoring.offsets(stored) if len(stored) else np.empty(0, np.float32)
        results = []
        for result, probe, own in zip(lists, probes, scoring.own, strict=True):
            mine = np.isin(groups, result.groups)
            scores = stored[mine] @ probe + offsets[mine] + own
            results.append(distinct(rows[mine], groups[mine], np.asarray(scores, np.float32), k))
        if depth >= DEEPEST or all(
            _is_settled(result, ranked, k, depth, float(own), scoring.least)
            for result, ranked, own in zip(lists, results, scoring.own, strict=True)
        ):
            return results
        depth *= 4


def _is_settled(result: CandidateList, ranked: CandidateList, k: int, depth: int, own: float, least: float) -> bool:
    """Whether nobody beyond the list by cosine can be among the k best, or reach what matters."""
    if len(result.rows) < depth:
        return True
    beyond = float(result.scores[-1]) + own
    return beyond < least or (len(ranked.rows) >= k and beyond <= float(ranked.scores[k - 1]))


def _templates(
    connection: sa.Connection, reader: TemplateReader, place: Place, dim: int, lists: Sequence[CandidateList]
) -> tuple[Rows, Rows, Matrix]:
    """All sound templates of a model that the subjects of some lists have: rows, subjects, vectors."""
    wanted = sorted({int(group) for result in lists for group in result.groups})
    entries: list[Any] = []
    for start in range(0, len(wanted), AT_ONCE):
        query = (
            sa.select(*STORED)
            .join(faces, templates.c.face_row == faces.c.row)
            .where(faces.c.subject_row.in_(wanted[start : start + AT_ONCE]), templates.c.model_row == place[1])
            .where(templates.c.subject_row == faces.c.subject_row)
        )
        entries += connection.execute(query).all()
    sound, matrix = reader.read(entries, dim)
    rows = np.array([entry.row for entry in entries], np.int64)[sound]
    return rows, np.array([entry.subject_row for entry in entries], np.int64)[sound], matrix
