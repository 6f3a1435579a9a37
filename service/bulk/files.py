"""Photographs as they lie on the disk."""

from __future__ import annotations

import errno
import os
import stat
from pathlib import Path

LARGEST = 64 * 1024 * 1024
"""Bytes of a file that is read: no service takes more."""


def spell_path(path: Path) -> str:
    """Write a file's place as text, for records and reports; what is no UTF-8 as its bytes in hexadecimal."""
    return os.fsencode(path).decode(errors="backslashreplace")


def read_photograph(path: Path) -> bytes:
    """Read a file.

    Raises:
        OSError: It cannot be read, is no regular file, or is far too large for a photograph.
    """
    status = path.stat()
    if not stat.S_ISREG(status.st_mode):
        raise OSError(errno.EINVAL, "Not a regular file", str(path))
    if status.st_size > LARGEST:
        raise OSError(errno.EFBIG, os.strerror(errno.EFBIG), str(path))
    return path.read_bytes()
