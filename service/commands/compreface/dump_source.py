"""A plain dump of CompreFace's PostgreSQL database, as `pg_dump` writes it.

Read are the tables of the versions 0.6 to 1.2: `subject` (id, api_key, subject_name), `embedding` (id, subject_id,
embedding, calculator, img_id), `img` (id, content) and `model` (name, api_key), which names the services. The file is
read twice, so that pictures are held one at a time. Vectors of CompreFace's models are left where they are: ours are
made of the pictures.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

from service.commands.compreface.source import Example, SourceInvalid

COPY = re.compile(r"COPY (?:\w+\.)?\"?(\w+)\"? \(([^)]*)\) FROM stdin;\s*$")
END = "\\."
NULL = "\\N"
ESCAPE = re.compile(r"\\([0-7]{1,3}|x[0-9a-fA-F]{1,2}|.)", re.DOTALL)
LETTERS = {"b": "\b", "f": "\f", "n": "\n", "r": "\r", "t": "\t", "v": "\v"}
TABLES = ("subject", "embedding", "img")

Row = dict[str, str | None]


class DumpSource:
    """One recognition service in a dump: by its name or its key where the dump has several."""

    def __init__(self, path: Path, service: str | None = None) -> None:
        """Read who is in it. Raises: SourceInvalid."""
        self._path = path
        names: dict[str, str] = {}
        subjects: dict[str, tuple[str, str]] = {}
        embeddings: list[tuple[str, str, str | None]] = []
        tables = set()
        for table, row in _rows(path, {"subject", "embedding", "model", "img"}, skip="img"):
            tables.add(table)
            if table == "model":
                names[_text(row, "api_key")] = _text(row, "name")
            elif table == "subject":
                subjects[_text(row, "id")] = (_text(row, "api_key"), _text(row, "subject_name"))
            elif table == "embedding":
                embeddings.append((_text(row, "id"), _text(row, "subject_id"), row.get("img_id")))
        if "subject" not in tables:
            raise SourceInvalid(
                f"{path.name} has no table 'subject' written by COPY: make a plain dump of CompreFace's database with "
                "`pg_dump`, without --inserts and not in the custom format"
            )
        key = _chosen(path, service, {key for key, _ in subjects.values()}, names)
        self._subjects = {row: name for row, (owner, name) in subjects.items() if owner == key}
        self._examples = [entry for entry in embeddings if entry[1] in self._subjects]

    def subjects(self) -> list[str]:
        """The names of all subjects."""
        return list(self._subjects.values())

    def examples(self) -> Iterator[Example]:
        """All enrolled faces: those without a picture first, then the others in the order of their pictures.

        A picture that several models made an embedding of is one example.
        """
        by_picture: dict[str, tuple[str, str]] = {}
        for image_id, subject, picture in self._examples:
            if picture is None:
                yield Example(image_id, self._subjects[subject], None)
            else:
                by_picture.setdefault(picture, (image_id, subject))
        for _, row in _rows(self._path, {"img"}):
            owner = by_picture.pop(_text(row, "id"), None)
            if owner is not None:
                yield Example(owner[0], self._subjects[owner[1]], _bytes(_text(row, "content")))
        for image_id, subject in by_picture.values():
            yield Example(image_id, self._subjects[subject], None)


def _chosen(path: Path, service: str | None, keys: set[str], names: dict[str, str]) -> str:
    """The key of the service that was asked for, or of the only one."""
    known = sorted(names.get(key, key) for key in keys)
    matching = [key for key in keys if service is None or service in (key, names.get(key))]
    if not keys:
        raise SourceInvalid(f"{path.name} has no subjects")
    if len(matching) != 1:
        raise SourceInvalid(f"{path.name} has the services {', '.join(known)}: name one with --service")
    return matching[0]


def _rows(path: Path, tables: set[str], skip: str | None = None) -> Iterator[tuple[str, Row]]:
    """Rows of some tables; of the table `skip` none, though it is read over."""
    with path.open(encoding="utf-8", errors="surrogateescape", newline="\n") as lines:
        for line in lines:
            head = COPY.match(line)
            if head is None or head.group(1) not in tables:
                continue
            columns = [name.strip().strip('"') for name in head.group(2).split(",")]
            for entry in lines:
                text = entry.rstrip("\r\n")  # a terminal in between writes both; in a cell they are escaped
                if text == END:
                    break
                if head.group(1) != skip:
                    cells = text.split("\t")
                    if len(cells) != len(columns):
                        raise SourceInvalid(f"{path.name}: a row of {head.group(1)} has {len(cells)} columns")
                    yield head.group(1), {name: _cell(cell) for name, cell in zip(columns, cells, strict=True)}
            else:
                raise SourceInvalid(f"{path.name} ends within the table {head.group(1)}: it was cut short")


def _cell(text: str) -> str | None:
    return None if text == NULL else ESCAPE.sub(_plain, text)


def _plain(escape: re.Match[str]) -> str:
    """What a backslash and what follows stand for in COPY's text format."""
    said = escape.group(1)
    if said[0] in "01234567":
        return chr(int(said, 8))
    if said[0] == "x" and len(said) > 1:
        return chr(int(said[1:], 16))
    return LETTERS.get(said, said)


def _text(row: Row, column: str) -> str:
    value = row.get(column)
    if value is None:
        raise SourceInvalid(f"a row has no {column}: it is no dump of CompreFace 0.6 to 1.2")
    return value


def _bytes(text: str) -> bytes | None:
    """The bytes of a `bytea` in its hexadecimal form."""
    if not text.startswith("\\x"):
        raise SourceInvalid("a picture is not in hexadecimal: dump it with bytea_output = 'hex'")
    return bytes.fromhex(text[2:]) or None
