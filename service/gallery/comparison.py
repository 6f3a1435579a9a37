"""Comparisons with what is enrolled: a probe with everybody of a collection, and with one subject."""

from __future__ import annotations

import time
from collections.abc import Callable
from functools import partial
from typing import NamedTuple

import numpy as np
import sqlalchemy as sa
from numpy.typing import NDArray

from service.database.errors import TemplateDamaged
from service.database.schema import faces, models, subjects, templates
from service.database.template_seal import STORED
from service.gallery import queries
from service.gallery.errors import TemplateMissing
from service.gallery.records import Hit
from service.index import normalised, vectors
from service.index.base import CandidateList, Vector, VectorIndex
from service.index.scoring import Scoring
from service.index.stored_templates import TemplateReader

AGAIN, PATIENCE = 3, 0.25
"""How often a search is made again that met a change half-way, and the seconds that it waits for one at most."""


class Found(NamedTuple):
    """What a search found for each probe, best first.

    `overtaken` says that index and database were not of one moment: a template that somebody is given, or that changes
    hands, is in one before it is in the other, and its person may be missing.
    """

    hits: list[list[Hit]]
    overtaken: bool


def settle(search_once: Callable[[], Found], await_changes: Callable[[float], None]) -> list[list[Hit]]:
    """Search again, in a transaction of its own each time, while a change overtakes the search, but not for long.

    What an index alone holds for good, because somebody wrote into the database, costs these searches and no more.
    """
    for _ in range(AGAIN):
        found = search_once()
        if not found.overtaken:
            return found.hits
        await_changes(PATIENCE)
    return search_once().hits


def search(
    connection: sa.Connection,
    index: VectorIndex,
    reader: TemplateReader,
    collection: str,
    digest: str,
    probes: NDArray[np.float32],
    k: int,
    scoring: Scoring | None,
    observe: Callable[[str, float], None],
) -> Found:
    """Search for each of (N, D) unit probes the k best subjects, each once with its best face, best first.

    `observe` is told "index" and the seconds that each search of the index took.

    Raises:
        CollectionNotFound: There is no collection of that name.
        VectorInvalid: Not finite unit vectors of the model's dimension.
        TemplateMissing: The collection has templates, and none of this model.
        ScoreInvalid: A comparison gave no cosine.
    """
    row = queries.collection_row(connection, collection)
    model = connection.execute(sa.select(models.c.row, models.c.dim).where(models.c.digest == digest)).one_or_none()
    matrix = vectors.check(probes, None if model is None else model.dim)
    scores = [partial(_score, probe=matrix[at], scoring=scoring, at=at) for at in range(len(matrix))]
    depth, unknown = k, False
    while True:
        started = time.perf_counter()
        results: list[CandidateList] = []
        if model is not None and scoring is None:
            results = index.search(connection, (row, model.row), matrix, depth)
        elif model is not None and scoring is not None:
            place = (row, model.row)
            results, unknown = normalised.search(connection, index, reader, place, model.dim, matrix, depth, scoring)
        observe("index", time.perf_counter() - started)
        if not any(len(result.rows) for result in results):
            present = queries.models_of(connection, templates.c.collection_row == row)
            if present and digest not in present:
                raise TemplateMissing(f"Collection '{collection}'", digest, present)
            return Found([[] for _ in matrix], unknown)
        hits, damaged, missing = queries.hits(connection, results, scores, reader)
        unknown = unknown or missing
        if damaged and model is not None:
            index.leave_out((row, model.row), damaged)
        elif any(len(own) < k and len(each.rows) >= depth for own, each in zip(hits, results, strict=True)):
            depth *= 2  # those who have expired or are just being erased may hide others
        else:
            return Found([own[:k] for own in hits], unknown)


def compare(
    connection: sa.Connection,
    reader: TemplateReader,
    collection: str,
    subject: str,
    digest: str,
    probe: Vector,
    scoring: Scoring | None,
    face_id: str | None,
) -> Hit:
    """Compare one (D,) unit probe with a subject's faces, or with one of them; returns the best.

    Raises:
        CollectionNotFound: There is no collection of that name.
        SubjectNotFound: The collection has no subject of that name.
        VectorInvalid: Not finite unit vectors of the model's dimension.
        TemplateMissing: None of the subject's faces has a template of this model.
        TemplateDamaged: Those that they have are damaged.
        ScoreInvalid: A comparison gave no cosine.
    """
    row = queries.subject_row(connection, collection, subject)
    query = (
        sa.select(
            *STORED, faces.c.id, subjects.c.name.label("subject"), subjects.c.id.label("subject_id"), models.c.dim
        )
        .join(faces, templates.c.face_row == faces.c.row)
        .join(subjects, faces.c.subject_row == subjects.c.row)
        .join(models, templates.c.model_row == models.c.row)
        .where(faces.c.subject_row == row, templates.c.subject_row == row, models.c.digest == digest)
        .order_by(templates.c.row)
    )
    if face_id is not None:
        query = query.where(faces.c.id == face_id)
    entries = connection.execute(query).all()
    if not entries:
        own = templates.c.face_row.in_(sa.select(faces.c.row).where(faces.c.subject_row == row))
        raise TemplateMissing(f"Subject '{subject}'", digest, queries.models_of(connection, own))
    dim = entries[0].dim
    checked = vectors.check(probe[None], dim)[0]
    sound, matrix = reader.read(entries, dim)
    readable = [entry for entry, is_sound in zip(entries, sound.tolist(), strict=True) if is_sound]
    if not readable:
        raise TemplateDamaged("no other of this person is sound")
    scores = matrix @ checked
    if scoring is not None:
        scores = scores + scoring.offsets(matrix) + scoring.own[0]
    at = int(scores.argmax())
    best = readable[at]  # named as it was compared: somebody else may have got the name meanwhile
    return Hit(best.subject, best.subject_id, best.id, vectors.score(float(scores[at])), digest)


def _score(stored: Vector, _: str, *, probe: Vector, scoring: Scoring | None, at: int) -> float:
    """The score of a stored template with the probe at a place among several."""
    score = float(probe @ stored)
    return score if scoring is None else score + float(scoring.own[at]) + float(scoring.offsets(stored[None])[0])
