"""A new template: the row of its model, its sealed bytes, and what the indexes are told of it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import sqlalchemy as sa

from service.database.encryption import Keyring
from service.database.schema import models, templates
from service.database.template_seal import TemplatePlace, seal_template
from service.database.transaction import Transaction
from service.index import vectors
from service.index.base import Vector
from service.index.changes import Added, IndexChange
from service.index.errors import VectorInvalid

# Made once: an enrolment that built its statements anew would spend most of its time on that.
_MODEL = sa.select(models.c.row, models.c.dim).where(models.c.digest == sa.bindparam("digest"))
_NEW_MODEL, _NEW_TEMPLATE = sa.insert(models), sa.insert(templates)


@dataclass(frozen=True, slots=True)
class FaceRow:
    """The row of a face, and those of what it belongs to."""

    row: int
    collection: int
    subject: int


def claim_model(connection: sa.Connection, known: Mapping[str, tuple[int, int]], digest: str, dim: int) -> int:
    """Return the row of a model, made if it is new; `known` are rows and dimensions that need not be read.

    Raises:
        VectorInvalid: Its templates have another dimension.
    """
    model = known.get(digest)
    if model is None:
        stored = connection.execute(_MODEL, {"digest": digest}).one_or_none()
        if stored is None:
            return row_of(connection.execute(_NEW_MODEL, {"digest": digest, "dim": dim}))
        model = (int(stored.row), int(stored.dim))
    if model[1] != dim:
        raise VectorInvalid(f"The model's templates have {model[1]} dimensions, not {dim}.")
    return model[0]


def insert_template(
    transaction: Transaction[IndexChange], keyring: Keyring, face: FaceRow, model_row: int, vector: Vector
) -> None:
    """Seal and insert a (D,) template in its stored form, and let the index follow."""
    values = {
        "face_row": face.row,
        "model_row": model_row,
        "collection_row": face.collection,
        "subject_row": face.subject,
        **seal_template(
            keyring, vectors.pack(vector), TemplatePlace(face.collection, face.subject, face.row, model_row)
        ),
    }
    row = row_of(transaction.connection.execute(_NEW_TEMPLATE, values))
    transaction.changes.append(Added(face.collection, model_row, row, face.subject, vector))


def row_of(inserted: sa.CursorResult[Any]) -> int:
    """Return the row that an insert made."""
    key = inserted.inserted_primary_key
    assert key is not None  # noqa: S101 - the tables have one
    return int(key[0])
