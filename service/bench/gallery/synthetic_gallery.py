"""A gallery of synthetic people, written straight into the database."""

from __future__ import annotations

from functools import partial
from pathlib import Path

import numpy as np
import sqlalchemy as sa

from service.bench.gallery.crowd import FACES, Crowd
from service.database.encryption import Keyring
from service.database.schema import collections, faces, models, new_id, now, subjects, templates
from service.database.template_seal import TemplatePlace, seal_template
from service.gallery.embedded import open_embedded
from service.index import vectors
from service.index.base import Matrix, Rows

DIGEST = "be" * 32
"""Of the model that made the templates, were there one."""


def fill(directory: Path, count: int, dim: int, collection: str = "bench") -> None:
    """Write a gallery of `count` templates straight into the database, as fast as the disk allows."""
    gallery = open_embedded(directory)
    try:
        gallery.create_collection(collection)
        crowd = Crowd(count // FACES, dim)

        def prepare(connection: sa.Connection) -> tuple[int, int]:
            connection.execute(sa.insert(models).values(digest=DIGEST, dim=dim))
            row = connection.scalar(sa.select(collections.c.row).where(collections.c.name == collection))
            model = connection.scalar(sa.select(models.c.row).where(models.c.digest == DIGEST))
            return int(row or 0), int(model or 0)

        place = gallery.database.write(prepare)
        for rows, persons, matrix in crowd.chunks():
            gallery.database.write(partial(_insert, place=place, rows=rows, persons=persons, matrix=matrix))
    finally:
        gallery.close()


def _insert(connection: sa.Connection, place: tuple[int, int], rows: Rows, persons: Rows, matrix: Matrix) -> None:
    collection, model = place
    at = now()
    people = [
        {
            "row": int(person) + 1,
            "id": new_id(),
            "collection_row": collection,
            "name": f"person-{person}",
            "metadata": {},
        }
        for person in np.unique(persons)
    ]
    connection.execute(sa.insert(subjects).values(created_at=at, updated_at=at), people)
    connection.execute(
        sa.insert(faces).values(
            collection_row=collection, created_at=at, quality={}, box=[], landmarks=[], source_sha256=""
        ),
        [
            {"row": int(row), "id": new_id(), "subject_row": int(person) + 1}
            for row, person in zip(rows, persons, strict=True)
        ],
    )
    connection.execute(
        sa.insert(templates).values(model_row=model, collection_row=collection),
        [
            {"row": int(row), "face_row": int(row), "subject_row": int(person) + 1}
            | seal_template(
                Keyring.empty(),
                vectors.pack(vector),
                TemplatePlace(collection, int(person) + 1, int(row), model),
            )
            for row, person, vector in zip(rows, persons, matrix, strict=True)
        ],
    )
