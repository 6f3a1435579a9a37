"""Templates as the database stores them: each with a checksum over itself and the place it belongs to.

The checksum has no key. It finds a flipped bit, and a template moved to another face, person, collection or model by
hand. Against somebody who can make a checksum too there is encryption: the tag of a sealed template covers the same
place, so that it opens nowhere else.
"""

from __future__ import annotations

import hashlib
import hmac
import struct
from dataclasses import dataclass
from typing import Any

import sqlalchemy as sa

from service.database.encryption import Keyring, legacy_template_place
from service.database.errors import StorageUnavailable, TemplateDamaged
from service.database.schema import templates

CHECKSUM_SIZE = 16
STORED = (
    templates.c.row,
    templates.c.collection_row,
    templates.c.subject_row,
    templates.c.face_row,
    templates.c.model_row,
    templates.c.key_id,
    templates.c.vector,
    templates.c.checksum,
)
"""The columns that opening a template takes."""


@dataclass(frozen=True, slots=True)
class TemplatePlace:
    """Where a template belongs: the rows of its collection, person, face and model."""

    collection: int
    subject: int
    face: int
    model: int

    @property
    def label(self) -> bytes:
        """The place as bytes, for a checksum or a tag to cover."""
        return struct.pack(">8sqqqq", b"template", self.collection, self.subject, self.face, self.model)


def seal_template(keyring: Keyring, packed: bytes, place: TemplatePlace) -> dict[str, Any]:
    """Return the values of a template's columns `vector`, `key_id` and `checksum`."""
    stored, key_id = keyring.seal(packed, place.label)
    return {"vector": stored, "key_id": key_id, "checksum": checksum_of(stored, key_id, place)}


def open_template(keyring: Keyring, entry: Any) -> bytes:
    """Return the packed vector of a row with the columns `STORED`.

    Raises:
        KeyMissing: Its key is not known.
        TemplateDamaged: It was changed or moved.
    """
    place = place_of(entry)
    if entry.checksum is None or not hmac.compare_digest(
        entry.checksum, checksum_of(entry.vector, entry.key_id, place)
    ):
        raise TemplateDamaged("its checksum does not fit: it was changed, or belongs to another face or person")
    try:
        return keyring.open(entry.vector, entry.key_id, place.label)
    except StorageUnavailable as error:
        raise TemplateDamaged(str(error)) from None


def place_of(entry: Any) -> TemplatePlace:
    """Return the place of a row of the templates."""
    return TemplatePlace(entry.collection_row, entry.subject_row, entry.face_row, entry.model_row)


def checksum_of(stored: bytes, key_id: str | None, place: TemplatePlace) -> bytes:
    """Return the BLAKE2b checksum of a template as it is stored, in its place."""
    digest = hashlib.blake2b(place.label, digest_size=CHECKSUM_SIZE)
    digest.update(b"" if key_id is None else key_id.encode() + b"\0")
    digest.update(stored)
    return digest.digest()


def bind_sealed(connection: sa.Connection, keyring: Keyring, limit: int = 1000) -> int:
    """Seal again, bound to their whole place, templates that a version before had sealed for face and model alone.

    Reads `limit` at a time; returns how many were bound. A template that does not open stays without a checksum, and
    counts as damaged.

    Raises:
        KeyMissing: The key of one of them is not known.
    """
    bound, after = 0, 0
    unbound = sa.select(*STORED).where(templates.c.checksum.is_(None), templates.c.key_id.is_not(None))
    while entries := connection.execute(
        unbound.where(templates.c.row > after).order_by(templates.c.row).limit(limit)
    ).all():
        for entry in entries:
            try:
                packed = keyring.open(
                    entry.vector, entry.key_id, legacy_template_place(entry.face_row, entry.model_row)
                )
            except StorageUnavailable:
                continue
            values = seal_template(keyring, packed, place_of(entry))
            connection.execute(sa.update(templates).where(templates.c.row == entry.row).values(**values))
            bound += 1
        after = entries[-1].row
    return bound
