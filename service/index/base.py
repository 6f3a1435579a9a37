"""What the gallery asks of an index: vectors in, the best row of each of the k best groups out."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

Rows = NDArray[np.int64]
Matrix = NDArray[np.float32]


@dataclass(frozen=True, slots=True)
class Found:
    """The groups found for one probe, best first: (K,) rows, groups, and cosine scores of float32."""

    rows: Rows
    groups: Rows
    scores: NDArray[np.float32]

    @staticmethod
    def nothing() -> Found:
        """Nobody."""
        return Found(np.empty(0, np.int64), np.empty(0, np.int64), np.empty(0, np.float32))


class VectorIndex(Protocol):
    """Unit vectors under ever-growing row numbers; a group is a subject.

    What was added or removed before a search began counts in that search. Searches may run beside one change at a time.
    """

    def add(self, rows: Rows, groups: Rows, vectors: Matrix) -> None:
        """Take (N,) rows above all present ones, their groups and (N,D) vectors."""
        ...

    def remove(self, rows: Rows) -> int:
        """Forget `rows`; unknown ones are passed over. Returns how many were present."""
        ...

    def search(self, probes: Matrix, k: int) -> list[Found]:
        """For each of (Q,D) probes the k groups with the highest cosine, each once with its best row."""
        ...

    def rows(self) -> Rows:
        """All rows present, ascending."""
        ...

    def __len__(self) -> int:
        """Vectors present."""
        ...

    @property
    def memory(self) -> int:
        """Bytes held."""
        ...


def distinct(rows: Rows, groups: Rows, scores: NDArray[np.float32], k: int) -> Found:
    """The best row of each of the k best groups out of (M,) candidates in any order; equal scores go by row."""
    order = np.lexsort((rows, -scores))
    _, first = np.unique(groups[order], return_index=True)
    chosen = order[np.sort(first)[:k]]
    return Found(rows[chosen], groups[chosen], scores[chosen])
