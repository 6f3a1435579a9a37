"""Names of collections and subjects: any letters of any script, one spelling for each name."""

from __future__ import annotations

import unicodedata

from service.gallery.errors import NameInvalid

LONGEST = 200
JOINERS = frozenset("\u200c\u200d")
"""Zero-width non-joiner and joiner: they are part of the spelling in Persian and Devanagari, and of many emoji."""


def canonical_name(text: str) -> str:
    """Return a name in Unicode's composed form (NFC), so that an e with an accent is one name, however it was typed."""
    return unicodedata.normalize("NFC", text)


def is_name(text: str) -> bool:
    """Whether a text can be a name: of visible characters, blanks and joiners, with a visible one at either end.

    Names stand in addresses: one with a slash, or of dots alone, would not come through.
    """
    return (
        0 < len(text) <= LONGEST
        and text == text.strip()
        and not {"/", "\\"} & set(text)
        and text not in (".", "..")
        and not {text[0], text[-1]} & JOINERS
        and all(character.isprintable() or character in JOINERS or _is_blank(character) for character in text)
    )


def check_name(kind: str, name: str) -> str:
    """Return `name` in its canonical spelling, if a collection or subject may have it.

    Raises:
        NameInvalid: Empty, longer than 200, of dots alone, with slashes, control characters or space at an end.
    """
    canonical = canonical_name(name)
    if not is_name(canonical):
        raise NameInvalid(kind)
    return canonical


def _is_blank(character: str) -> bool:
    """Whether it is a space of any width: the ideographic and the no-break space are not printable to Python."""
    return unicodedata.category(character) == "Zs"
