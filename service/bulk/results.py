"""What the verification of pairs gave: a CSV file, one row a pair, which is also how the next run goes on."""

from __future__ import annotations

import csv
import io
import os
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from types import TracebackType
from typing import Self

from service.bulk.errors import RecordForeign
from service.bulk.pairs import Pair
from service.bulk.spreadsheets import as_text, comma_separated


@dataclass(frozen=True, slots=True)
class Row:
    """One pair and its answer, as texts; `code` and `detail` say why there is no decision."""

    number: str
    first: str
    second: str
    subject: str
    genuine: str
    decision: str = ""
    score: str = ""
    threshold: str = ""
    fmr: str = ""
    model: str = ""
    code: str = ""
    detail: str = ""
    request_id: str = ""
    wishes: str = ""

    @classmethod
    def of(cls, pair: Pair, wishes: str) -> Row:
        """Begin the row of a pair; `wishes` is what the service is asked of all of them."""
        genuine = "" if pair.genuine is None else str(int(pair.genuine))
        own = (str(pair.number), pair.first, pair.second or "", pair.subject or "", genuine)
        number, first, second, subject, truth = (str(as_text(cell)).replace("\n", " ") for cell in own)
        return cls(number, first, second, subject, truth, wishes=wishes)

    @property
    def decided(self) -> bool:
        """Whether the service decided."""
        return bool(self.decision)

    def begins_like(self, other: Row) -> bool:
        """Whether both are rows of the same pair with the same wishes."""
        same = ("number", "first", "second", "subject", "genuine", "wishes")
        return all(getattr(self, name) == getattr(other, name) for name in same)


NAMES = tuple(field.name for field in fields(Row))


class Results:
    """The file. Rows are written whole, so that a run that is killed leaves at most the beginning of one."""

    def __init__(self, path: Path, expected: Sequence[Row]) -> None:
        """Read the results of an earlier run, if there is one; `expected` are the rows of the list, unanswered.

        Raises:
            RecordForeign: They are of another list or were asked otherwise, or it is no such file.
        """
        self.path = path
        self.rows: dict[str, Row] = {}
        if path.exists():
            self._load({row.number: row for row in expected})

    def __enter__(self) -> Self:
        self._write_all()
        self._file = os.open(self.path, os.O_WRONLY | os.O_APPEND)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        os.close(self._file)
        self._write_all()

    def forget_undecided(self) -> None:
        """Take out what was not decided, so that it is asked again."""
        self.rows = {number: row for number, row in self.rows.items() if row.decided}

    def add(self, row: Row) -> None:
        """Write a row."""
        os.write(self._file, _lines([row]).encode())
        self.rows[row.number] = row

    def _load(self, expected: dict[str, Row]) -> None:
        content = self.path.read_bytes()
        text = content[: content.rfind(b"\n") + 1].decode(errors="replace")
        for cells in _read(text, self.path):
            row = Row(**cells)
            if row.number not in expected or not row.begins_like(expected[row.number]):
                raise RecordForeign(
                    f"{self.path} has results of another list, or of other wishes ({row.wishes}): name another file "
                    "with --output"
                )
            self.rows[row.number] = row

    def _write_all(self) -> None:
        """Write all rows in the order of the list, at once."""
        fresh = self.path.with_name(f"{self.path.name}.new")
        ordered = sorted(self.rows.values(), key=lambda row: int(row.number))
        fresh.write_text(comma_separated([NAMES]) + _lines(ordered), encoding="utf-8")
        fresh.replace(self.path)


def _lines(rows: Iterable[Row]) -> str:
    buffer = io.StringIO()
    csv.writer(buffer, lineterminator="\n").writerows(
        [value.replace("\n", " ") for value in (asdict(row) | {"detail": str(as_text(row.detail))}).values()]
        for row in rows
    )
    return buffer.getvalue()


def _read(text: str, path: Path) -> Iterator[dict[str, str]]:
    """The lines of a file of results, each with a cell for each name.

    Raises:
        RecordForeign: It is no such file.
    """
    reader = csv.DictReader(io.StringIO(text))
    foreign = RecordForeign(f"{path} holds something else than results: name another file with --output")
    try:
        if text and tuple(reader.fieldnames or ()) != NAMES:
            raise foreign
        for cells in reader:
            if None in cells or None in cells.values():  # of more cells than names, or of fewer
                raise foreign
            yield cells
    except csv.Error:
        raise foreign from None
