"""Any letters of any script make a name, and one name has one spelling."""

from __future__ import annotations

import unicodedata

import pytest

from service.gallery.names import canonical_name, is_name


@pytest.mark.parametrize(
    "name",
    [
        "Ann",
        "José",
        "Ana María 2",
        "山田　太郎",  # an ideographic space
        "می\u200cخواهم",  # Persian: a zero-width non-joiner within the word
        "क्\u200dष",  # Devanagari: a joiner
        "👩\u200d🚀",  # an emoji of two, joined
        "Jean\u00a0Luc",  # a no-break space
        "O'Brien (7) [x] #1?",
        "ᚠᛇᚻ",
    ],
)
def test_names_of_every_script(name: str) -> None:
    assert is_name(canonical_name(name))


@pytest.mark.parametrize(
    "name", ["", " Ann", "Ann\u3000", "a\nb", "a\x00b", "a\u200bb", "a\u202eb", "\u200d", "a\u200d", "x" * 201]
)
def test_what_cannot_be_seen_or_told_apart_is_no_name(name: str) -> None:
    assert not is_name(canonical_name(name))


@pytest.mark.parametrize("name", ["a/b", "a\\b", ".", ".."])
def test_what_would_not_come_through_an_address_is_no_name(name: str) -> None:
    assert not is_name(name)


def test_two_spellings_are_one_name() -> None:
    composed, taken_apart = unicodedata.normalize("NFC", "José"), unicodedata.normalize("NFD", "José")
    assert composed != taken_apart
    assert canonical_name(composed) == canonical_name(taken_apart)
