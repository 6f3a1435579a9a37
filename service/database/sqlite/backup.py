"""A backup of a data folder's database, made beside a running service, and the way back.

A backup is one SQLite file: collections, people, faces, templates, crops, keys, audit log, receipts, roles and logged
decisions. Indexes are derived from it; models are files of their own and not in it.
"""

from __future__ import annotations

import shutil
import sqlite3
from collections.abc import Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass
from pathlib import Path

from service.database.errors import BackupInvalid
from service.database.sqlite.birth import FILE, ID, PRIVATE_FILE, check_whole, prepare_folder
from service.database.sqlite.copies import check_sound, copy_database, drop_before
from service.database.sqlite.engine import DirectoryLock
from service.database.transaction import storage_errors
from service.database.upgrades import newest_revision

_IN_COLLECTION = "SELECT row FROM collections WHERE name = :target AND created_at <= :at"
_PEOPLE = {
    "face": "DELETE FROM faces WHERE id = :target",
    "subject": "DELETE FROM subjects WHERE id = :target",
    "subjects": f"DELETE FROM subjects WHERE created_at <= :at AND collection_row IN ({_IN_COLLECTION})",  # noqa: S608
    "collection": f"DELETE FROM subjects WHERE created_at <= :at AND collection_row IN ({_IN_COLLECTION})",  # noqa: S608
}
"""Who is erased by a receipt, by its kind. A collection is known by its name, which another may have had later."""
_MERGERS = """
    SELECT gave.target, took.target, min(took.row) FROM audit gave JOIN audit took
    ON took.request_id = gave.request_id AND took.principal = gave.principal AND took.row > gave.row
    AND took.action = gave.action AND took.outcome LIKE 'took %'
    WHERE gave.action = 'merge_subjects' AND gave.outcome LIKE 'gave %' GROUP BY gave.row ORDER BY gave.row
"""
"""Who was made one with whom, in the order in which it was done, by the two entries of each merger."""
TABLES = ("collections", "subjects", "faces", "templates", "crops", "keys", "audit", "receipts")


@dataclass(frozen=True, slots=True)
class BackupContent:
    """What a backup holds: rows by table, and how many erasures of after it were made again in it."""

    rows: dict[str, int]
    erased_again: int = 0


def back_up(directory: Path, file: Path) -> BackupContent:
    """Copy the database of a folder to a new file, whole as of one moment, and check the copy.

    Raises:
        BackupInvalid: There is no database in the folder, or the file is there already.
        StorageError: It cannot be read or written, or is damaged.
    """
    if file.exists():
        raise BackupInvalid(f"{file} exists already: give the backup a name of its own.")
    if not (directory / FILE).exists():
        raise BackupInvalid(f"{directory} holds no {FILE}.")
    with storage_errors():
        check_whole(directory)
        _check_is_gallery(directory / FILE)
        copy_database(directory / FILE, file)
        return BackupContent(_check_is_gallery(file))


def restore(directory: Path, file: Path, *, replace: bool = False) -> BackupContent:
    """Put a backup into a folder that no service has open. Whoever was erased since it was made is erased in it too.

    Args:
        directory: Made where it is missing.
        file: Of `back_up`; it stays as it is.
        replace: Also where the folder holds a database, which is lost with all that came after the backup.

    Raises:
        BackupInvalid: The file is no sound backup, is of a newer version, or the folder holds a database.
        StorageError: The folder is in use or cannot be written.
    """
    with storage_errors():
        if not file.is_file():
            raise BackupInvalid(f"{file} is not a file.")
        _check_is_gallery(file)
        present = directory / FILE
        if present.exists() and present.stat().st_size and not replace:
            raise BackupInvalid(f"{directory} holds a database: add --replace to lose it, or use another folder.")
        lock = DirectoryLock(directory)
        try:
            fresh = directory / "gallery.restored"
            copy_database(file, fresh)
            again = _erase_again(fresh, _receipts(present), _mergers(present))
            _remove_log(present)
            fresh.replace(present)
            present.chmod(PRIVATE_FILE)
            (directory / ID).unlink(missing_ok=True)
            shutil.rmtree(directory / "segments", ignore_errors=True)
            drop_before(directory)
            prepare_folder(directory)
            return BackupContent(_check_is_gallery(present), again)
        finally:
            lock.release()


def _check_is_gallery(file: Path) -> dict[str, int]:
    """Count what a database holds. Raises: BackupInvalid, StorageUnavailable when it is damaged."""
    with _opened(file) as connection:
        try:
            (revision,) = connection.execute("SELECT version_num FROM alembic_version").fetchone()
            rows = {table: connection.execute(f"SELECT count(*) FROM {table}").fetchone()[0] for table in TABLES}  # noqa: S608
        except (sqlite3.DatabaseError, TypeError):
            raise BackupInvalid(f"{file} is not the database of a gallery, or it is empty or damaged.") from None
        if revision > newest_revision():
            raise BackupInvalid(f"{file} was written by a newer version of Facet ({revision}).")
        check_sound(connection)
    return rows


def _receipts(file: Path) -> list[tuple[str, ...]]:
    """The erasures that a database knows of; none where it cannot be read."""
    columns = "id, kind, target, faces, templates, at, collection"
    return _rows(file, f"SELECT {columns} FROM receipts ORDER BY row")  # noqa: S608


def _mergers(file: Path) -> list[tuple[str, str]]:
    """The ids of people made one that a database's audit log knows of: of whom was merged, and into whom."""
    return [(origin, into) for origin, into, _ in _rows(file, _MERGERS)]


def _rows(file: Path, query: str) -> list[tuple[str, ...]]:
    if not file.exists():
        return []
    try:
        with _opened(file) as connection:
            return list(connection.execute(query))
    except sqlite3.DatabaseError:
        return []


def _erase_again(file: Path, receipts: list[tuple[str, ...]], mergers: list[tuple[str, str]]) -> int:
    """Erase whoever a backup has and lacks the receipt of, and add the receipts; returns how many these were.

    Who was merged with somebody erased is erased too: the receipt names only the one who stayed.
    """
    erased = 0
    with _opened(file) as connection:
        held = {row[1] for row in connection.execute("PRAGMA table_info(receipts)")}
        known = {id_ for (id_,) in connection.execute("SELECT id FROM receipts")}
        connection.execute("PRAGMA foreign_keys = ON")
        connection.execute("PRAGMA secure_delete = ON")
        for receipt in receipts:
            id_, kind, target = receipt[:3]
            if id_ in known:
                continue
            parameters = {"target": target, "at": receipt[5]}
            erased += connection.execute(_PEOPLE[kind], parameters).rowcount if kind in _PEOPLE else 0
            if kind == "subject":
                for other in _merged_into(target, mergers):
                    erased += connection.execute(_PEOPLE[kind], {"target": other}).rowcount
            if kind == "collection":
                connection.execute("DELETE FROM collections WHERE name = :target AND created_at <= :at", parameters)
            if "collection" in held:
                names = "id, kind, target, faces, templates, at, collection"
                connection.execute(f"INSERT INTO receipts ({names}) VALUES (?, ?, ?, ?, ?, ?, ?)", receipt)  # noqa: S608
        if erased:  # kept answers of requests name people as well
            connection.execute("DELETE FROM replies")
        connection.commit()
    return erased


def _merged_into(target: str, mergers: list[tuple[str, str]]) -> list[str]:
    """Those who became one person with `target`, at once or by way of others."""
    others = [target]
    for origin, into in reversed(mergers):
        if into in others:
            others.append(origin)
    return others[1:]


def _remove_log(database: Path) -> None:
    for suffix in ("-wal", "-shm"):
        database.with_name(f"{database.name}{suffix}").unlink(missing_ok=True)


@contextmanager
def _opened(file: Path) -> Iterator[sqlite3.Connection]:
    with closing(sqlite3.connect(file)) as connection:
        yield connection
