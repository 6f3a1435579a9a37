"""Is this folder's first start, or has it lost its database? An empty file looks like both.

A folder that has held a gallery keeps the file `gallery.id`. A database without tables is a first start only where
that file is missing, and where the database is missing too, or the lock file tells of a first start that was killed.
"""

from __future__ import annotations

import os
import struct
from contextlib import suppress
from pathlib import Path

from service.database.errors import StorageUnavailable

FILE = "gallery.sqlite3"
LOCK = "gallery.lock"
ID = "gallery.id"
LARGEST_PAGE = 65_536
PRIVATE_FILE, PRIVATE_FOLDER = 0o600, 0o700
ADVICE = "put a backup in its place (`facet restore`), or use another folder to begin anew"


def prepare_folder(directory: Path) -> None:
    """Make the folder and the files that hold templates or secrets, readable by their owner alone.

    Raises:
        OSError: They cannot be made.
        StorageUnavailable: An empty database was put here.
    """
    _check_copied(directory)
    directory.mkdir(mode=PRIVATE_FOLDER, parents=True, exist_ok=True)
    database = directory / FILE
    if not database.exists():
        os.close(os.open(directory / LOCK, os.O_RDWR | os.O_CREAT, PRIVATE_FILE))
        if not (directory / ID).exists():  # SQLite gives its log the mode of its file
            os.close(os.open(database, os.O_RDWR | os.O_CREAT, PRIVATE_FILE))
    for file in directory.glob("gallery.*"):
        with suppress(OSError):  # of another owner, or of a folder that cannot be written
            if file.stat().st_mode & 0o077:
                file.chmod(PRIVATE_FILE)


def check_whole(directory: Path) -> None:
    """Check that the database is not missing where there was one, and not cut short.

    Raises:
        StorageUnavailable: It is.
    """
    database = directory / FILE
    if not database.exists():
        raise StorageUnavailable(f"{FILE} is missing from a folder that held a gallery: {ADVICE}.")
    log = database.with_name(f"{FILE}-wal")
    if log.exists() and log.stat().st_size:
        return  # pages may be there
    with database.open("rb") as file:
        head = file.read(32)
    if len(head) == 32 and head.startswith(b"SQLite format 3\0"):
        page, pages = struct.unpack(">H", head[16:18])[0], struct.unpack(">I", head[28:32])[0]
        if database.stat().st_size < (LARGEST_PAGE if page == 1 else page) * pages:
            raise StorageUnavailable(f"{FILE} is cut short, and what is missing is not in its log: {ADVICE}.")


def check_first(directory: Path, *, known: bool) -> None:
    """Check that a database without tables is that of a first start; `known` says that it has them.

    Raises:
        StorageUnavailable: There was a gallery here, or this is a copy without its log.
    """
    if known:
        return
    if (directory / ID).exists():
        raise StorageUnavailable(f"{FILE} is empty in a folder that held a gallery: {ADVICE}.")


def _check_copied(directory: Path) -> None:
    """Raise StorageUnavailable for a database of no page but its first, alone in a folder that was never locked."""
    database = directory / FILE
    alone = not any((directory / name).exists() for name in (LOCK, ID, f"{FILE}-wal"))
    if alone and database.exists() and database.stat().st_size <= LARGEST_PAGE:
        with database.open("rb") as file:
            head = file.read(32)
        if not head or (head.startswith(b"SQLite format 3\0") and struct.unpack(">I", head[28:32])[0] <= 1):
            raise StorageUnavailable(
                f"{FILE} is empty, and no first start has made it: it was copied while a service ran (make copies with "
                f"`facet backup`); {ADVICE}."
            )


def note_birth(directory: Path, store_id: str) -> None:
    """Leave a sign that this folder holds a gallery."""
    with suppress(OSError):  # a folder that cannot be written is read all the same
        if not (directory / ID).exists():
            descriptor = os.open(directory / ID, os.O_WRONLY | os.O_CREAT, PRIVATE_FILE)
            with os.fdopen(descriptor, "w", encoding="ascii") as file:
                file.write(f"{store_id}\n")
