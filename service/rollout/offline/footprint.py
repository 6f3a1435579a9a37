"""The memory that a model takes, measured in a process of its own."""

from __future__ import annotations

import multiprocessing
import os
from pathlib import Path

import numpy as np

from service.face.align import CROP
from service.face.embedding.embed import Embedder
from service.face.manifest import load_manifest
from service.face.registry import MANIFEST, MODEL
from service.face.session import ModelSession, Runtime

FACES = 20
"""Faces embedded before memory is read: by then the runtime has made what it keeps."""


def measure_footprint(folder: Path) -> int:
    """Resident bytes that a process gains by loading the model of a folder and embedding faces one by one.

    Raises: ModelError.
    """
    with multiprocessing.get_context("spawn").Pool(1) as process:
        return process.apply(_grow, (folder,))


def _grow(folder: Path) -> int:
    manifest = load_manifest(folder / MANIFEST)
    crop = np.zeros((1, CROP, CROP, 3), dtype=np.uint8)
    before = _resident()
    embedder = Embedder(manifest, ModelSession(folder / MODEL, Runtime(1)))
    for _ in range(FACES):
        embedder.embed(crop)
    return _resident() - before


def _resident() -> int:
    pages = int(Path("/proc/self/statm").read_text().split()[1])
    return pages * os.sysconf("SC_PAGE_SIZE")
