"""Pairs to verify: a CSV file with a row for each, or one of LFW's lists."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from service.bulk.errors import ListInvalid
from service.gallery.names import canonical_name
from service.measures.lfw import LfwListInvalid, parse_lfw_pairs
from service.measures.tables import TableInvalid, read_table

COLUMNS = ("first", "second", "subject", "genuine")


@dataclass(frozen=True, slots=True)
class Pair:
    """A claim: the probe's file, what it is compared with, and the truth where it is known.

    Attributes:
        number: Its place in the list, from 1.
        first: File of the probe, relative to the list.
        second: File to compare with, relative to the list; or else
        subject: Name of a stored subject.
        genuine: Whether it is one person; None where nobody says so.
    """

    number: int
    first: str
    second: str | None
    subject: str | None
    genuine: bool | None


def read_list(path: Path) -> list[Pair]:
    """Read pairs from CSV with the columns `first`, `second` or `subject`, and perhaps `genuine` (1 or 0); or LFW's.

    A row of CSV has a second file or a subject, whichever cell is filled.

    Raises:
        ListInvalid: It is neither, or holds no pair.
    """
    try:
        text = path.read_text(encoding="utf-8-sig")
    except UnicodeDecodeError as error:
        raise ListInvalid(f"{path} is not UTF-8 text: {error}") from error
    pairs = _of_rows(path, text) if "," in text.partition("\n")[0] else _of_lfw(path, text)
    if not pairs:
        raise ListInvalid(f"{path} holds no pair")
    return pairs


def _of_rows(path: Path, text: str) -> list[Pair]:
    try:
        named, rows = read_table(text)
    except TableInvalid as error:
        raise ListInvalid(f"{path}: {error}") from error
    columns = set(named)
    if not columns <= set(COLUMNS) or "first" not in columns or not columns & {"second", "subject"}:
        raise ListInvalid(f"{path} needs the columns first and second or subject, and may have genuine; no others")
    pairs = []
    for number, (line, row) in enumerate(rows, 1):
        first, second, subject, truth = (
            (row.get(name) or "").strip() for name in ("first", "second", "subject", "genuine")
        )
        place = f"{path}:{line}"
        if not first or bool(second) == bool(subject) or None in row:
            raise ListInvalid(f"{place}: a pair is a first file, and a second or a subject, exactly one of them")
        if truth not in ("", "0", "1"):
            raise ListInvalid(f"{place}: genuine is 1 or 0, not {truth!r}")
        genuine = None if not truth else truth == "1"
        pairs.append(Pair(number, first, second or None, canonical_name(subject) or None, genuine))
    return pairs


def _of_lfw(path: Path, text: str) -> list[Pair]:
    try:
        listed = parse_lfw_pairs(text)
    except LfwListInvalid as error:
        raise ListInvalid(f"{path} is neither CSV nor LFW's layout: {error}") from error
    rows = zip(listed.pairs, listed.genuine.tolist(), strict=True)
    return [
        Pair(number, f"{first.stem}.jpg", f"{second.stem}.jpg", None, genuine)
        for number, ((first, second), genuine) in enumerate(rows, 1)
    ]
