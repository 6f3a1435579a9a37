"""Is a template key the one that its id was given to? Found out at the start, before a damaged value is blamed."""

from __future__ import annotations

import base64

import sqlalchemy as sa

from service.database.encryption import Keyring, crop_place
from service.database.errors import StorageUnavailable
from service.database.schema import crops, store, templates
from service.database.template_seal import STORED, bind_sealed, open_template

KNOWN = b"facet"
BOUND = "templates:bound"
SOME = 50
"""Values of which one must open where a key is met for the first time."""


def check_keys(engine: sa.Engine, keyring: Keyring) -> None:
    """Check every key of the ring, note those that are new, and bind what a version before has sealed.

    Writes only where there is something to note.

    Raises:
        StorageUnavailable: Another key has been used under the id of one of them.
        KeyMissing: The key of a template that is to be bound is not in the ring.
    """
    with engine.connect() as connection:
        facts = dict(connection.execute(sa.select(store.c.name, store.c.value)).all())
    for key_id in keyring.keys:
        if (noted := facts.get(f"key:{key_id}")) is not None:
            keyring.open(base64.b64decode(noted), key_id, _place(key_id))
    new = [key_id for key_id in keyring.keys if f"key:{key_id}" not in facts]
    if not new and BOUND in facts:
        return
    with engine.connect().execution_options(immediate=True) as connection, connection.begin():
        if BOUND not in facts:
            bind_sealed(connection, keyring)
            connection.execute(sa.insert(store).values(name=BOUND, value="1"))
        for key_id in new:
            _require_one(connection, keyring, key_id)
            sealed, _ = Keyring(key_id, keyring.keys).seal(KNOWN, _place(key_id))
            connection.execute(sa.insert(store).values(name=f"key:{key_id}", value=base64.b64encode(sealed).decode()))


def _place(key_id: str) -> bytes:
    return f"key:{key_id}".encode()


def _require_one(connection: sa.Connection, keyring: Keyring, key_id: str) -> None:
    """Raise StorageUnavailable where values are sealed under this id, and none of the first opens."""
    failure: StorageUnavailable | None = None
    for entry in connection.execute(sa.select(*STORED).where(templates.c.key_id == key_id).limit(SOME)):
        try:
            open_template(keyring, entry)
        except StorageUnavailable as error:
            failure = error
        else:
            return
    for entry in connection.execute(sa.select(crops).where(crops.c.key_id == key_id).limit(SOME)):
        try:
            keyring.open(entry.data, entry.key_id, crop_place(entry.face_row))
        except StorageUnavailable as error:
            failure = error
        else:
            return
    if failure is not None:
        raise failure
