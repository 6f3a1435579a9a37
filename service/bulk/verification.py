"""Pairs verified through a running service, and what the decisions are worth where the truth is known."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any, Literal

from service.bulk.files import read_photograph
from service.bulk.pairs import Pair
from service.bulk.results import Results, Row
from service.bulk.server import Refusal, Server
from service.bulk.window import run_in_window
from service.measures.intervals import Estimate


@dataclass(frozen=True, slots=True)
class Wishes:
    """What is asked of every verification, as the route's fields say it."""

    fmr: float | None = None
    threshold: float | None = None
    model: str | None = None
    faces: Literal["prominent", "single"] = "prominent"
    quality: Literal["enforce", "report"] = "report"
    collection: str | None = None

    def __str__(self) -> str:
        """The wishes in a cell."""
        return " ".join(f"{name}={value}" for name, value in asdict(self).items() if value is not None)


@dataclass(frozen=True, slots=True)
class PairVerifier:
    """Verifies pairs whose files lie in a folder; safe to use from many threads at once."""

    server: Server
    folder: Path
    wishes: Wishes

    def verify(self, pair: Pair) -> Row:
        """Ask for a decision; the row says it, or why there is none.

        Raises:
            BulkError: The service refuses everything, or does not answer.
        """
        row = Row.of(pair, str(self.wishes))
        fields = asdict(self.wishes) | {"subject": pair.subject}
        if pair.subject is None:
            fields.pop("collection")
        try:
            names = [("probe", pair.first), *([("reference", pair.second)] if pair.second is not None else [])]
            images = [(field, read_photograph(self.folder / name)) for field, name in names]
        except OSError as error:
            return replace(row, code="file_unreadable", detail=f"{error.filename}: {error.strerror}")
        try:
            reply = self.server.post("/v1/verify", fields, images)
        except Refusal as refusal:
            image = refusal.problem.get("image")
            detail = f"{image}: {refusal}" if image else str(refusal)
            request_id = str(refusal.problem.get("request_id", ""))
            return replace(row, code=refusal.code, detail=detail, request_id=request_id)
        fmr = "" if reply["fmr"] is None else f"{reply['fmr']:.6g}"
        model = f"{reply['model']['name']}@{reply['model']['version']}"
        return replace(
            row,
            decision=reply["decision"],
            score=f"{reply['score']:.6f}",
            threshold=f"{reply['threshold']:.6f}",
            fmr=fmr,
            model=model,
            request_id=reply["request_id"],
        )


def verify_all(
    pairs: Sequence[Pair], verifier: PairVerifier, results: Results, parallel: int, progress: Callable[[int], None]
) -> None:
    """Verify the pairs that have no result yet, and write each result as it comes, in the order of the list.

    Raises:
        BulkError: The service refuses everything, or does not answer. The results have what was decided until then.
    """
    waiting = [pair for pair in pairs if str(pair.number) not in results.rows]
    progress(len(pairs) - len(waiting))
    for row in run_in_window(verifier.verify, waiting, parallel):
        results.add(row)
        progress(1)


@dataclass(frozen=True, slots=True)
class Rates:
    """What came of the pairs: how many were decided, why the others were not, and the errors of the decisions.

    `fmr` and `fnmr` are shares of the decided impostor and genuine pairs; None where there are none.
    """

    pairs: int
    undecided: dict[str, int]
    matches: int
    fmr: Estimate | None
    fnmr: Estimate | None
    accuracy: Estimate | None

    @classmethod
    def of(cls, rows: Sequence[Row]) -> Rates:
        """Count."""
        decided = [row for row in rows if row.decided]
        genuine = [row.decision == "match" for row in decided if row.genuine == "1"]
        impostor = [row.decision == "match" for row in decided if row.genuine == "0"]
        right = sum(genuine) + len(impostor) - sum(impostor)
        return cls(
            pairs=len(rows),
            undecided=dict(Counter(row.code for row in rows if not row.decided).most_common()),
            matches=sum(row.decision == "match" for row in decided),
            fmr=_share(sum(impostor), len(impostor)),
            fnmr=_share(len(genuine) - sum(genuine), len(genuine)),
            accuracy=_share(right, len(genuine) + len(impostor)),
        )

    def document(self) -> dict[str, Any]:
        """The rates as JSON values."""
        return asdict(self)

    def lines(self) -> list[str]:
        """The rates in words, a line each."""
        decided = self.pairs - sum(self.undecided.values())
        lines = [f"{decided} of {self.pairs} pairs decided, {self.matches} match"]
        if self.undecided:
            lines.append("not decided: " + ", ".join(f"{count} {code}" for code, count in self.undecided.items()))
        named = {"false match rate": self.fmr, "false non-match rate": self.fnmr, "decided rightly": self.accuracy}
        return lines + [_line(name, share) for name, share in named.items() if share is not None]


def _share(count: int, trials: int) -> Estimate | None:
    return Estimate.of_share(count, trials) if trials else None


def _line(name: str, share: Estimate) -> str:
    low, high = share.ci95 or (0.0, 1.0)
    return f"{name}: {share.value:.2%} of {share.trials} ({low:.2%} to {high:.2%})"
