"""Sealing again, under the key that seals now, what another key or none has sealed."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import sqlalchemy as sa

from service.database.encryption import Keyring, crop_place, template_place
from service.database.schema import crops, templates
from service.database.writer import Turn
from service.index.changes import Effect

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


def reseal_some(turn: Turn[Effect], keyring: Keyring, kind: Kind, after: int) -> list[int]:
    """Seal the next values above row `after` that are not under the present key; returns their rows, none at the end.

    Raises:
        KeyMissing: the key of one of them is not known.
    """
    table = kind.row.table
    old = sa.select(table).where(kind.row > after, table.c.key_id.is_distinct_from(keyring.sealing))
    changed: list[dict[str, Any]] = []
    for entry in turn.connection.execute(old.order_by(kind.row).limit(SOME)):
        place = kind.place(entry)
        stored, row = getattr(entry, kind.value.name), getattr(entry, kind.row.name)
        value, key_id = keyring.seal(keyring.open(stored, entry.key_id, place), place)
        changed.append({"at_row": row, "new_value": value, "new_key": key_id})
    if changed:
        new: dict[str, Any] = {kind.value.name: sa.bindparam("new_value"), "key_id": sa.bindparam("new_key")}
        assert isinstance(table, sa.Table)  # noqa: S101 - what the columns above belong to
        turn.connection.execute(sa.update(table).where(kind.row == sa.bindparam("at_row")).values(**new), changed)
    return [entry["at_row"] for entry in changed]
