"""Who is to be enrolled, and from which files: a folder of people, or a list of rows."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path

from service.bulk.errors import ListInvalid
from service.bulk.files import spell_path
from service.gallery.names import canonical_name
from service.measures.tables import TableInvalid, read_table

SUFFIXES = frozenset(
    {".jpg", ".jpeg", ".jpe", ".png", ".webp", ".bmp", ".gif", ".tif", ".tiff", ".heic", ".heif", ".avif"}
)
"""Of files that somebody means to enrol; whether the service reads their format is for the service to say."""
COLUMNS = ("subject", "image")
EXPIRY = "expires_at"


@dataclass(frozen=True, slots=True)
class Person:
    """Somebody to enrol: the name, the photographs in their order, facts to keep, and when to be erased again."""

    name: str
    photographs: tuple[Path, ...]
    metadata: Mapping[str, str] = field(default_factory=dict)
    expires_at: datetime | None = None


def read_people(source: Path) -> list[Person]:
    """Read people from a folder that holds a folder for each, or from a CSV file with a row for each photograph.

    A folder's name is the person's. A row has the columns `subject` and `image`, a file relative to the list, and
    perhaps `expires_at`, a time with a zone; all other columns are kept as facts about the person, empty cells left
    out. Hidden files are passed over.

    Raises:
        ListInvalid: There is nobody in it, or it is not laid out so.
    """
    people = _of_folder(source) if source.is_dir() else _of_list(source)
    if not people:
        raise ListInvalid(f"{source} holds nobody to enrol")
    return people


def _of_folder(root: Path) -> list[Person]:
    if loose := [path.name for path in sorted(root.iterdir()) if path.is_file() and _is_photograph(path)]:
        raise ListInvalid(
            f"{root} holds photographs outside of a person's folder, {loose[0]} for one: put each person's into a "
            "folder with the person's name"
        )
    folders = [path for path in sorted(root.iterdir()) if path.is_dir() and not path.name.startswith(".")]
    people = []
    for folder in folders:
        files = tuple(path for path in sorted(folder.rglob("*")) if path.is_file() and _is_photograph(path))
        if files and spell_path(Path(folder.name)) != folder.name:
            raise ListInvalid(f"{spell_path(folder)}: the name of a folder is the person's, and this one is not UTF-8")
        if files:
            people.append(Person(canonical_name(folder.name), files))
    return people


def _is_photograph(path: Path) -> bool:
    return path.suffix.lower() in SUFFIXES and not path.name.startswith(".")


def _of_list(path: Path) -> list[Person]:
    try:
        columns, rows = read_table(path.read_text(encoding="utf-8-sig"))  # spreadsheets begin a file with a mark
    except UnicodeDecodeError as error:
        raise ListInvalid(f"{path} is not UTF-8 text: {error}") from error
    except TableInvalid as error:
        raise ListInvalid(f"{path}: {error}") from error
    if missing := [column for column in COLUMNS if column not in columns]:
        raise ListInvalid(f"{path} needs the columns subject and image; it lacks {' and '.join(missing)}")
    files: dict[str, list[Path]] = {}
    facts: dict[str, dict[str, str]] = {}
    for line, row in rows:
        name, image = canonical_name((row["subject"] or "").strip()), (row["image"] or "").strip()
        if not name or not image or None in row:
            raise ListInvalid(f"{path}:{line}: a row needs a subject, an image, and a cell for each column")
        own = {column: value for column, value in row.items() if column not in COLUMNS and value}
        known = facts.setdefault(name, own)
        if own and own != known:
            raise ListInvalid(f"{path}:{line}: another row says other facts about {name}")
        files.setdefault(name, []).append(path.parent / image)
    return [_person(path, name, own, facts[name]) for name, own in files.items()]


def _person(path: Path, name: str, files: list[Path], facts: Mapping[str, str]) -> Person:
    kept = {fact: value for fact, value in facts.items() if fact != EXPIRY}
    expiry = None
    if EXPIRY in facts:
        try:
            expiry = _moment(facts[EXPIRY])
        except (ValueError, OverflowError) as error:
            raise ListInvalid(
                f"{path}: {EXPIRY} of {name} is {facts[EXPIRY]!r}, and no time with a zone as 2030-01-31T12:00:00Z"
            ) from error
    return Person(name, tuple(dict.fromkeys(files)), kept, expiry)


def _moment(text: str) -> datetime:
    moment = datetime.fromisoformat(text)
    if moment.tzinfo is None:
        raise ValueError("there is no zone")
    return moment.astimezone(UTC)
