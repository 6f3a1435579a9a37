"""Sealing again, under the key that seals now, what another key or none has sealed."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Any

import sqlalchemy as sa

from service.database.base import Database
from service.database.encryption import Keyring, crop_place, template_place
from service.database.schema import crops, templates
from service.database.transaction import Transaction

SOME = 500
"""Values in one transaction: other changes wait no longer than these take."""


@dataclass(frozen=True, slots=True)
class Kind:
    """A table of sealed values: its row number, the value, and where a value belongs."""

    row: sa.Column[int]
    value: sa.Column[bytes]
    place: Callable[[Any], bytes]


KINDS = (
    Kind(templates.c.row, templates.c.vector, lambda entry: template_place(entry.face_row, entry.model_row)),
    Kind(crops.c.face_row, crops.c.data, lambda entry: crop_place(entry.face_row)),
)


def reseal_values(database: Database[Any], keyring: Keyring, progress: Callable[[int], None] | None = None) -> int:
    """Seal every value that is not under the present key; returns how many those were.

    Args:
        database: Goes on reading and changing meanwhile.
        keyring: Opens what is stored and seals it again.
        progress: Called with the number of values done so far.

    Raises:
        KeyMissing: The key of a value is not known.
    """
    done = 0
    for kind in KINDS:
        rows = [0]
        while rows:
            rows = database.change(partial(_reseal_some, keyring=keyring, kind=kind, after=rows[-1]))
            done += len(rows)
            if progress is not None:
                progress(done)
    return done


def _reseal_some(transaction: Transaction[Any], keyring: Keyring, kind: Kind, after: int) -> list[int]:
    """Seal the next values above row `after` that are not under the present key; returns their rows, none at the end.

    Raises:
        KeyMissing: The key of one of them is not known.
    """
    table = kind.row.table
    old = sa.select(table).where(kind.row > after, table.c.key_id.is_distinct_from(keyring.sealing))
    changed: list[dict[str, Any]] = []
    for entry in transaction.connection.execute(old.order_by(kind.row).limit(SOME)):
        place = kind.place(entry)
        stored, row = getattr(entry, kind.value.name), getattr(entry, kind.row.name)
        value, key_id = keyring.seal(keyring.open(stored, entry.key_id, place), place)
        changed.append({"at_row": row, "new_value": value, "new_key": key_id})
    if changed:
        new: dict[str, Any] = {kind.value.name: sa.bindparam("new_value"), "key_id": sa.bindparam("new_key")}
        assert isinstance(table, sa.Table)  # noqa: S101 - what the columns above belong to
        transaction.connection.execute(
            sa.update(table).where(kind.row == sa.bindparam("at_row")).values(**new), changed
        )
    return [entry["at_row"] for entry in changed]
