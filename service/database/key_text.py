"""Secret keys as an operator writes them into a setting: `id:base64,id:base64`, of 32 bytes each."""

from __future__ import annotations

import base64
import binascii
import re
from collections.abc import Sequence

KEY_SIZE = 32


def split_keys(text: str) -> list[str]:
    """Return the entries of the text, without blanks."""
    return [part.strip() for part in text.split(",") if part.strip()]


def read_keys(entries: Sequence[str], what: str) -> dict[str, bytes]:
    """Read keys by their ids, in their order.

    Args:
        entries: One for each key.
        what: What such a key is called in messages.

    Raises:
        ValueError: An entry does not read so, or two have one id. The message does not repeat it.
    """
    keys: dict[str, bytes] = {}
    for number, entry in enumerate(entries, start=1):
        name, _, secret = entry.partition(":")
        try:
            key = base64.b64decode(secret, validate=True)
        except binascii.Error:
            key = b""
        if not re.fullmatch(r"[A-Za-z0-9._-]{1,64}", name) or len(key) != KEY_SIZE or name in keys or name == "none":
            raise ValueError(
                f"{what} key {number} is not id:base64 of 32 bytes under an id of its own; "
                "make one with: python3 -c 'import base64, os; print(base64.b64encode(os.urandom(32)).decode())'"
            )
        keys[name] = key
    return keys
