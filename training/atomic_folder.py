"""Files that are either whole or not there: written under a temporary name, synced, then renamed."""

from __future__ import annotations

import hashlib
import json
import os
import secrets
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from training.errors import FolderTaken


@contextmanager
def whole_file(path: Path) -> Iterator[Path]:
    """Give a temporary path beside `path`; on success it takes its place, on failure it vanishes."""
    path.parent.mkdir(parents=True, exist_ok=True)
    draft = path.with_name(f".{path.name}.{secrets.token_hex(4)}")
    try:
        yield draft
        with draft.open("rb") as file:
            os.fsync(file.fileno())
        draft.replace(path)
    finally:
        draft.unlink(missing_ok=True)


@contextmanager
def whole_folder(path: Path, known: str) -> Iterator[Path]:
    """The same for a folder. An existing folder at `path` is replaced only once the new one is complete.

    And only where it is empty or holds a file `known`, which every folder of its kind holds: what else a person keeps
    there must not be lost.

    Raises:
        FolderTaken: It holds something else.
    """
    if path.exists() and not (path / known).is_file() and not (path.is_dir() and not any(path.iterdir())):
        raise FolderTaken(f"{path} is there and holds no {known}: name a folder that is new, or empty this one")
    path.parent.mkdir(parents=True, exist_ok=True)
    draft = path.with_name(f".{path.name}.{secrets.token_hex(4)}")
    draft.mkdir()
    try:
        yield draft
        for file in draft.rglob("*"):
            if file.is_file():
                with file.open("rb") as handle:
                    os.fsync(handle.fileno())
        if path.exists():
            old = path.with_name(f".{path.name}.{secrets.token_hex(4)}")
            path.rename(old)
            draft.rename(path)
            shutil.rmtree(old)
        else:
            draft.rename(path)
    finally:
        if draft.exists():
            shutil.rmtree(draft)


def write_json(path: Path, value: Any) -> None:
    """Write indented JSON, whole or not at all."""
    with whole_file(path) as draft:
        draft.write_text(json.dumps(value, indent=2, ensure_ascii=False) + "\n", encoding="utf-8")


def write_text(path: Path, text: str) -> None:
    """Write text, whole or not at all."""
    with whole_file(path) as draft:
        draft.write_text(text, encoding="utf-8")


def digest_file(path: Path) -> str:
    """SHA-256 of a file's bytes, in hexadecimal."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def digest_text(*parts: str) -> str:
    """SHA-256 of several strings; the boundaries between them count."""
    return hashlib.sha256("\0".join(parts).encode()).hexdigest()
