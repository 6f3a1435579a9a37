"""Templates of a model for faces that are enrolled already: read what they are made from, and add them.

Each function takes an open connection or a transaction, as queries and changes do.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import sqlalchemy as sa

from service.database.encryption import Keyring, crop_place
from service.database.schema import crops, faces, models, subjects, templates
from service.database.transaction import Transaction
from service.gallery import queries
from service.gallery.changes.erasure import remove_templates
from service.gallery.changes.insertion import FaceRow, claim_model, insert_template
from service.index import vectors
from service.index.base import Vector
from service.index.changes import IndexChange


@dataclass(frozen=True, slots=True)
class KeptCrop:
    """The crop kept of a face, as it is stored: `Keyring.open(data, key_id, place)` gives the encoded picture."""

    face_row: int
    data: bytes
    key_id: str | None

    @property
    def place(self) -> bytes:
        """Where it belongs."""
        return crop_place(self.face_row)


def crops_without(
    connection: sa.Connection, digest: str, collection: str | None, after: int, limit: int
) -> list[KeptCrop]:
    """Return the crops of up to `limit` faces above row `after` without a template of a model, by row.

    Raises:
        CollectionNotFound: There is none of that name; None looks through all.
    """
    query = sa.select(crops).join(faces, crops.c.face_row == faces.c.row).where(_lacks(connection, digest))
    if collection is not None:
        query = query.where(faces.c.collection_row == queries.collection_row(connection, collection))
    page = query.where(crops.c.face_row > after).order_by(crops.c.face_row).limit(limit)
    return [KeptCrop(entry.face_row, entry.data, entry.key_id) for entry in connection.execute(page)]


def count_crops_without(connection: sa.Connection, digest: str, collection: str | None) -> int:
    """Count the faces with a kept crop and no template of a model. Reads every crop's row.

    Raises:
        CollectionNotFound: There is none of that name; None looks through all.
    """
    query = sa.select(sa.func.count()).select_from(crops.join(faces, crops.c.face_row == faces.c.row))
    query = query.where(_lacks(connection, digest))
    if collection is not None:
        query = query.where(faces.c.collection_row == queries.collection_row(connection, collection))
    return int(connection.scalar(query) or 0)


def faces_to_renew(connection: sa.Connection, digest: str, subject_id: str) -> list[int]:
    """Return rows of a subject's faces without a template of a model and without a crop to make it from."""
    query = (
        sa.select(faces.c.row)
        .join(subjects, faces.c.subject_row == subjects.c.row)
        .where(subjects.c.id == subject_id, _lacks(connection, digest))
        .where(~sa.exists().where(crops.c.face_row == faces.c.row).correlate(faces))
    )
    return [int(row) for row in connection.scalars(query.order_by(faces.c.row))]


def add_templates(
    transaction: Transaction[IndexChange],
    keyring: Keyring,
    digest: str,
    new_templates: Mapping[int, Vector],
    owner: str | None = None,
) -> int:
    """Give faces, by their rows, (D,) unit templates of a model. Returns how many were added.

    A face that has gone, or has a template of this model by now, is passed over. So is one that is not of the subject
    `owner` (an id) any more, where there is one: what was made of another photograph is of that person.

    Raises:
        VectorInvalid: Of another dimension than the model's templates, or not of unit length.
    """
    if not new_templates:
        return 0
    stored = {row: vectors.stored_form(vectors.check(vector[None], None)[0]) for row, vector in new_templates.items()}
    model_row = claim_model(transaction.connection, {}, digest, len(next(iter(new_templates.values()))))
    lacking = sa.select(faces.c.row, faces.c.collection_row, faces.c.subject_row).where(
        faces.c.row.in_(list(stored)), _lacks(transaction.connection, digest)
    )
    if owner is not None:
        lacking = lacking.where(faces.c.subject_row.in_(sa.select(subjects.c.row).where(subjects.c.id == owner)))
    entries = transaction.connection.execute(lacking.order_by(faces.c.row).with_for_update(of=faces)).all()
    for row, collection, subject in entries:
        insert_template(transaction, keyring, FaceRow(row, collection, subject), model_row, stored[row])
    return len(entries)


def drop_some(
    transaction: Transaction[IndexChange],
    digest: str,
    collection: str | None,
    limit: int,
    others: Sequence[str] | None = None,
) -> int:
    """Remove up to `limit` templates of a model, and not the faces. Returns how many were removed, 0 at the end.

    With `others` (digests), only from faces that have a template of one of these models at this moment.

    Raises:
        CollectionNotFound: There is none of that name; None means all.
    """
    row = queries.model_row(transaction.connection, digest)
    query = sa.select(templates.c.row).where(templates.c.model_row == row)
    if collection is not None:
        query = query.where(templates.c.collection_row == queries.collection_row(transaction.connection, collection))
    if others is not None:
        other = templates.alias()
        rows_of_others = sa.select(models.c.row).where(models.c.digest.in_(others))
        held = sa.exists().where(other.c.face_row == templates.c.face_row, other.c.model_row.in_(rows_of_others))
        query = query.where(held.correlate(templates))
    rows = list(transaction.connection.scalars(query.limit(limit)))
    return remove_templates(transaction, templates.c.row.in_(rows)) if rows else 0


def _lacks(connection: sa.Connection, digest: str) -> sa.ColumnElement[bool]:
    """Whether a face has no template of a model."""
    row = queries.model_row(connection, digest)
    if row is None:
        return sa.true()
    held = sa.exists().where(templates.c.face_row == faces.c.row, templates.c.model_row == row)
    return ~held.correlate(faces)
