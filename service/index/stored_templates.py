"""Stored templates as vectors; those that are damaged are set aside: no search and no comparison sees them.

Whatever reads a template of the database reads it here: an index that is filled, a comparison, the short list of a
search. A template passes if its checksum fits it in its place, it opens, and it is a finite unit vector.
"""

from __future__ import annotations

import logging
import threading
from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from service.database.encryption import Keyring
from service.database.errors import TemplateDamaged
from service.database.template_seal import open_template
from service.index import vectors
from service.index.base import Matrix

log = logging.getLogger(__name__)


class TemplateReader:
    """Opens the templates of one gallery, and knows which of them were found damaged. Safe to use from any thread."""

    def __init__(self, keyring: Keyring) -> None:
        """Open with the keys of `keyring`."""
        self.keyring = keyring
        self._damage: dict[int, str] = {}
        self._lock = threading.Lock()

    @property
    def damaged(self) -> int:
        """How many templates were found damaged since the start."""
        return len(self._damage)

    def read(self, entries: Sequence[Any], dim: int) -> tuple[NDArray[np.bool_], Matrix]:
        """Open rows with the columns `STORED` of a model of `dim` dimensions.

        Returns:
            Which of them are sound (N,), and the vectors (M,D) of these, in their order.

        Raises:
            KeyMissing: The key of one of them is not known.
        """
        sound = np.ones(len(entries), bool)
        blobs: list[bytes] = []
        for number, entry in enumerate(entries):
            if entry.row in self._damage:
                sound[number] = False
                continue
            try:
                packed = open_template(self.keyring, entry)
                if len(packed) != 2 * dim:
                    raise TemplateDamaged(f"it is not of {dim} dimensions")
            except TemplateDamaged as error:
                sound[number] = False
                self.set_aside(entry.row, str(error))
            else:
                blobs.append(packed)
        if not blobs:
            return sound, np.empty((0, dim), np.float32)
        matrix = vectors.unpack(blobs, dim).astype(np.float32)
        units = vectors.are_units(matrix)
        if not units.all():
            held = np.flatnonzero(sound)
            for number in held[~units].tolist():
                self.set_aside(entries[number].row, "it is no finite vector of length 1")
            sound[held[~units]] = False
            matrix = matrix[units]
        return sound, matrix

    def set_aside(self, row: int, why: str) -> None:
        """Count a template as damaged, and say so once."""
        with self._lock:
            if row in self._damage:
                return
            self._damage[row] = why
        log.error("template %d is left out of searches and comparisons: %s", row, why)
