"""What was done already, kept in a file beside the work, so that the next run goes on after it."""

from __future__ import annotations

import json
import os
import threading
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from types import TracebackType
from typing import Any, Literal, Self

from service.bulk.errors import RecordForeign


@dataclass(frozen=True, slots=True)
class Outcome:
    """What became of one photograph.

    Attributes:
        person, file, sha256: Whose it is, where it was found, the digest of its bytes.
        state: `unreadable` where the file could not be read.
        face_id: Of the enrolled face.
        code, detail, reasons: Why it was refused.
        earlier: Whether an earlier run did it.
    """

    person: str
    file: str
    sha256: str = ""
    state: Literal["enrolled", "refused", "unreadable"] = "refused"
    face_id: str | None = None
    code: str | None = None
    detail: str | None = None
    reasons: tuple[str, ...] = ()
    earlier: bool = False


class Record:
    """A file of JSON lines: the first says for which target it is, the others hold a batch of outcomes each.

    A line is written at once and whole, so that a run that is killed leaves at most the beginning of one, which the
    next run takes away.
    """

    def __init__(self, path: Path, target: str) -> None:
        """Read the record, if there is one.

        Raises:
            RecordForeign: It is of another target, or no record.
        """
        self.path = path
        self._lock = threading.Lock()
        self._done: dict[tuple[str, str], Outcome] = {}
        whole = 0
        if path.exists():
            content = path.read_bytes()
            whole = content.rfind(b"\n") + 1
            self._load(content[:whole], target)
        self._file = os.open(path, os.O_WRONLY | os.O_CREAT, 0o600)
        os.ftruncate(self._file, whole)
        os.lseek(self._file, 0, os.SEEK_END)
        if not whole:
            self._append({"target": target})

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        os.close(self._file)

    def find(self, person: str, sha256: str) -> Outcome | None:
        """What became of this photograph of this person, when it was sent before."""
        return self._done.get((person, sha256))

    def note(self, outcomes: Sequence[Outcome]) -> None:
        """Write down a batch; safe from any thread."""
        with self._lock:
            self._append([asdict(each) for each in outcomes])
            self._done.update({(each.person, each.sha256): each for each in outcomes})

    def _append(self, value: Any) -> None:
        os.write(self._file, json.dumps(value, ensure_ascii=False).encode() + b"\n")

    def _load(self, content: bytes, target: str) -> None:
        lines = content.splitlines()
        try:
            head, *batches = [json.loads(line) for line in lines] or [{"target": target}]
            earlier_target = head["target"]
            outcomes = [Outcome(**{**each, "reasons": tuple(each["reasons"])}) for batch in batches for each in batch]
        except (ValueError, KeyError, TypeError) as error:
            raise RecordForeign(f"{self.path} is no record of an enrolment: name another file with --record") from error
        if earlier_target != target:
            raise RecordForeign(
                f"{self.path} is the record of an enrolment into {earlier_target}, not into {target}: name another "
                "file with --record"
            )
        self._done = {(each.person, each.sha256): each for each in outcomes}
