"""Photographs as callers have them: a path, the bytes of a file, or an open file."""

from __future__ import annotations

from os import PathLike
from pathlib import Path
from typing import BinaryIO, TypeAlias

Photograph: TypeAlias = str | PathLike[str] | bytes | BinaryIO
"""A file's path, its bytes, or the file opened for reading bytes. A text is a path and never an address."""


def bytes_of(photograph: Photograph) -> bytes:
    """Read a photograph, once: a repeated request sends the same bytes.

    Raises:
        OSError: The file cannot be read.
    """
    match photograph:
        case bytes():
            return photograph
        case str() | PathLike():
            return Path(photograph).read_bytes()
        case _:
            return photograph.read()
