"""Opaque cursors for lists in the order of their rows."""

from __future__ import annotations

import base64
import binascii

from service.gallery.errors import CursorInvalid


def encode(row: int) -> str:
    """The cursor of what comes after `row`."""
    return base64.urlsafe_b64encode(b"r%d" % row).decode().rstrip("=")


def decode(cursor: str | None) -> int:
    """The row after which a list goes on; 0 is the beginning.

    Raises:
        CursorInvalid: not a cursor.
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
