"""Sealing again, under the key that seals now, what another key or none has sealed."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Any

import sqlalchemy as sa

from service.database.base import Database
from service.database.encryption import Keyring, crop_place
from service.database.schema import crops, templates
from service.database.template_seal import open_template, place_of, seal_template
from service.database.transaction import Transaction

SOME = 500
"""Values in one transaction: other changes wait no longer than these take."""


@dataclass(frozen=True, slots=True)
class Kind:
    """A table of sealed values: its row number, and how one is sealed again."""

    row: sa.Column[int]
    reseal: Callable[[Keyring, Any], dict[str, Any]]
    """The values of an entry's columns, sealed with the key that seals now."""


def _reseal_template(keyring: Keyring, entry: Any) -> dict[str, Any]:
    return seal_template(keyring, open_template(keyring, entry), place_of(entry))


def _reseal_crop(keyring: Keyring, entry: Any) -> dict[str, Any]:
    place = crop_place(entry.face_row)
    data, key_id = keyring.seal(keyring.open(entry.data, entry.key_id, place), place)
    return {"data": data, "key_id": key_id}


KINDS = (Kind(templates.c.row, _reseal_template), Kind(crops.c.face_row, _reseal_crop))


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
        TemplateDamaged: One of them is damaged: it must be erased first.
    """
    table = kind.row.table
    old = sa.select(table).where(kind.row > after, table.c.key_id.is_distinct_from(keyring.sealing))
    assert isinstance(table, sa.Table)  # noqa: S101 - what the columns above belong to
    rows: list[int] = []
    for entry in transaction.connection.execute(old.order_by(kind.row).limit(SOME)).all():
        row = getattr(entry, kind.row.name)
        values = kind.reseal(keyring, entry)
        transaction.connection.execute(sa.update(table).where(kind.row == row).values(**values))
        rows.append(row)
    return rows
