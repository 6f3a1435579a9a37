"""Names as people type them."""

from __future__ import annotations

from typing import TypeVar

from service.gallery.names import canonical_name

T = TypeVar("T", str, list[str], None)


def spell(name: T) -> T:
    """Give names the one spelling that they have everywhere, however their accents were typed."""
    if isinstance(name, str):
        return canonical_name(name)
    return name and [canonical_name(each) for each in name]
