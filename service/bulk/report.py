"""What came of an enrolment of many: how many, how fast, and which photographs were refused and why."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from service.bulk.record import Outcome
from service.bulk.spreadsheets import comma_separated

KEPT_OUT = 3
"""The exit status when everything was done, and some photographs are not enrolled."""
COLUMNS = ("person", "file", "state", "code", "detail", "face_id", "earlier")


@dataclass(frozen=True, slots=True)
class Report:
    """The outcomes of a run, and the seconds that it took."""

    outcomes: Sequence[Outcome]
    seconds: float

    @property
    def enrolled(self) -> int:
        """Photographs enrolled by this run."""
        return sum(each.state == "enrolled" and not each.earlier for each in self.outcomes)

    @property
    def earlier(self) -> int:
        """Photographs enrolled by an earlier run."""
        return sum(each.state == "enrolled" and each.earlier for each in self.outcomes)

    @property
    def kept_out(self) -> list[Outcome]:
        """Photographs that are not enrolled, in this run or before."""
        return [each for each in self.outcomes if each.state != "enrolled"]

    @property
    def sent(self) -> int:
        """Photographs that this run sent."""
        return sum(each.state != "unreadable" and not each.earlier for each in self.outcomes)

    def rows(self) -> list[tuple[str, ...]]:
        """Those kept out, and those enrolled with a warning, for a table: person, file, code, detail."""
        noted = [each for each in self.outcomes if each.code is not None]
        return [(each.person, each.file, each.code or "", _why(each)) for each in noted]

    def counts(self) -> list[tuple[str, int]]:
        """How many were kept out for each reason, the commonest first."""
        return Counter(each.code or "" for each in self.kept_out).most_common()

    def summary(self) -> str:
        """The run in a line."""
        people = len({each.person for each in self.outcomes if each.state == "enrolled"})
        parts = [f"{self.enrolled} photographs enrolled"]
        parts += [f"{self.earlier} were enrolled before"] if self.earlier else []
        parts += [f"{len(self.kept_out)} are not enrolled"] if self.kept_out else []
        pace = f" ({self.sent / self.seconds:.1f} photographs a second)" if self.sent and self.seconds else ""
        return f"{', '.join(parts)}; {people} people; {self.seconds:.1f} s{pace}"

    def document(self) -> dict[str, Any]:
        """The run as JSON values."""
        return {
            "enrolled": self.enrolled,
            "enrolled_before": self.earlier,
            "not_enrolled": len(self.kept_out),
            "reasons": dict(self.counts()),
            "seconds": round(self.seconds, 3),
            "photographs": [_values(each) for each in self.outcomes],
        }

    def write_csv(self, path: Path) -> None:
        """Write a row for each photograph."""
        rows = [
            tuple("" if value is None else str(value) for value in _values(each).values()) for each in self.outcomes
        ]
        path.write_text(comma_separated([COLUMNS, *rows]), encoding="utf-8")


def _values(outcome: Outcome) -> dict[str, Any]:
    values = {name: getattr(outcome, name) for name in COLUMNS}
    return {**values, "detail": _why(outcome) or None}


def _why(outcome: Outcome) -> str:
    return outcome.detail or ", ".join(outcome.reasons)
