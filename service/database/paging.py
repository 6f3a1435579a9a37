"""Opaque cursors for lists in the order of their rows."""

from __future__ import annotations

import base64
import binascii
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Generic, TypeVar

import sqlalchemy as sa

from service.database.errors import CursorInvalid
from service.database.transaction import storage_errors

T = TypeVar("T")

BEYOND = 2**62
"""Above every row."""


@dataclass(frozen=True, slots=True)
class Page(Generic[T]):
    """A part of a list; `next_cursor` asks for the part after it and is None at the end."""

    items: tuple[T, ...]
    next_cursor: str | None


def encode(row: int) -> str:
    """Return the cursor of what comes after `row`."""
    return base64.urlsafe_b64encode(b"r%d" % row).decode().rstrip("=")


def decode(cursor: str | None) -> int:
    """Return the row after which a list goes on; 0 is the beginning.

    Raises:
        CursorInvalid: Not a cursor.
    """
    if cursor is None:
        return 0
    try:
        text = base64.b64decode(cursor + "=" * (-len(cursor) % 4), altchars=b"-_", validate=True)
    except (binascii.Error, ValueError):
        raise CursorInvalid from None
    if not text[:1] == b"r" or not text[1:].isdigit() or len(text) > 20:
        raise CursorInvalid
    return min(int(text[1:]), 2**63 - 1)


def newest_first(
    engine: sa.Engine,
    query: sa.Select[Any],
    row: sa.Column[int],
    make: Callable[..., T],
    cursor: str | None,
    limit: int,
) -> Page[T]:
    """Return a page of what `query` selects, by the falling order of its column `row`, made of its columns by `make`.

    Raises:
        CursorInvalid: The cursor was not made by this list.
        StorageError: The database cannot be used.
    """
    page = query.where(row < (decode(cursor) or BEYOND)).order_by(row.desc()).limit(limit + 1)
    with storage_errors(), engine.connect() as connection:
        rows = connection.execute(page).all()
    more = encode(rows[limit - 1]._mapping[row]) if len(rows) > limit else None
    return Page(tuple(make(*values) for values in rows[:limit]), more)
