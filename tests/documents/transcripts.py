"""The console lines of the documents: fenced blocks marked `sh` (commands) or `console` (with their output)."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from tests.conftest import ROOT

CLIENT = ROOT / "deploy" / "client" / "README.md"
DOCUMENTS = [ROOT / "README.md", ROOT / "CONTRIBUTING.md", *sorted((ROOT / "docs").rglob("*.md")), CLIENT]
FENCE = re.compile(r"^```(\w*)\n(.*?)^```$", re.MULTILINE | re.DOTALL)
INDENTED = re.compile(r"\n\n {4}\$? ?(facet|facet-train|curl|docker|make|git|pip|kubectl) ")
NUMBER = re.compile(r"-?\d+\.\d+(?:e-?\d+)?")
TOLERANCE = 0.02
"""How far a printed score may be from the documents': processors round 8-bit models differently."""


@dataclass(frozen=True)
class Line:
    """A command as it is typed, where it and its block stand, and the output that the document shows, if it does."""

    document: str
    number: int
    block: int
    command: str
    output: str | None


def lines_of(path: Path) -> list[Line]:
    """The commands of a document, in its order."""
    text = path.read_text(encoding="utf-8")
    return [line for block in FENCE.finditer(text) for line in _lines(path, text, block)]


def _lines(path: Path, text: str, block: re.Match[str]) -> Iterator[Line]:
    kind, body = block.groups()
    if kind not in ("sh", "console"):
        return
    name = str(path.relative_to(ROOT))
    first = text[: block.start(2)].count("\n") + 1
    if kind == "sh":
        for number, command in _commands(body):
            yield Line(name, first + number, first, command, None)
        return
    for part in re.finditer(r"^\$ (.*\n(?:> .*\n)*)((?:(?!\$ ).*\n)*)", body, re.MULTILINE):
        command = re.sub(r"^> ", "", part.group(1), flags=re.MULTILINE).strip()
        yield Line(name, first + body[: part.start()].count("\n"), first, command, part.group(2))


def _commands(body: str) -> Iterator[tuple[int, str]]:
    """Commands of a shell block: a line, or several that a backslash or a pipe at the end joins."""
    gathered: list[str] = []
    for number, line in enumerate(body.splitlines()):
        if not gathered and (not line.strip() or line.startswith("#")):
            continue
        gathered.append(line)
        if not line.rstrip().endswith(("\\", "|")):
            joined = re.sub(r"\\\n\s*", "", "\n".join(gathered))
            yield number - len(gathered) + 1, joined
            gathered = []


def agrees(documented: str, printed: str) -> bool:
    """Whether an output is as documented: texts exactly, numbers with a fraction within the tolerance."""
    if NUMBER.sub("#", documented).split() != NUMBER.sub("#", printed).split():
        return False
    pairs = zip(NUMBER.findall(documented), NUMBER.findall(printed), strict=True)
    return all(abs(float(one) - float(other)) <= (TOLERANCE if float(one) > TOLERANCE else 0) for one, other in pairs)
