"""Photographs to train and to measure on: listed, and split by a hash of their names so that the split never moves."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray

from training.errors import SetInvalid, SetMissing

SUFFIXES = frozenset({".jpg", ".jpeg", ".png", ".webp"})


def list_images(folder: Path) -> tuple[Path, ...]:
    """Every image file under `folder`, sorted, so that an index means the same file on every machine.

    Raises: SetMissing when the folder is missing or holds no image.
    """
    files = sorted(p for p in folder.rglob("*") if p.suffix.lower() in SUFFIXES) if folder.is_dir() else []
    if not files:
        raise SetMissing(f"{folder}: no folder with images ({', '.join(sorted(SUFFIXES))})")
    return tuple(files)


def read_bgr(path: Path) -> NDArray[np.uint8]:
    """Decode to BGR uint8 (H, W, 3). Raises: SetInvalid."""
    image = cv2.imread(str(path), cv2.IMREAD_COLOR)
    if image is None:
        raise SetInvalid(f"{path}: cannot be decoded; remove it or fetch it again")
    return np.asarray(image, np.uint8)


def hold_out(files: Sequence[Path], count: int) -> tuple[tuple[Path, ...], tuple[Path, ...]]:
    """(kept, held): the `count` files whose names' SHA-256 are smallest are held out."""
    order = sorted(files, key=lambda file: _digest(file.name))
    return tuple(sorted(order[count:])), tuple(sorted(order[:count]))


def hold_out_folders(files: Sequence[Path], one_in: int) -> tuple[tuple[Path, ...], tuple[Path, ...]]:
    """(kept, held): one in `one_in` folders (one person's photographs each) is held out as a whole."""
    held = {folder for folder in {f.parent for f in files} if int(_digest(folder.name)[:8], 16) % one_in == 0}
    return tuple(f for f in files if f.parent not in held), tuple(f for f in files if f.parent in held)


def _digest(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()
