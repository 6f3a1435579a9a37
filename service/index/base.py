"""What the gallery asks of an index: vectors in, the best row of each of the k best groups out."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol, runtime_checkable

import numpy as np
import sqlalchemy as sa
from numpy.typing import NDArray

Rows = NDArray[np.int64]
Vector = NDArray[np.float32]
Matrix = NDArray[np.float32]
Place = tuple[int, int]
"""Rows of a collection and a model."""


@dataclass(frozen=True, slots=True)
class CandidateList:
    """The groups found for one probe, best first: (K,) rows, groups, and cosine scores of float32."""

    rows: Rows
    groups: Rows
    scores: NDArray[np.float32]

    @staticmethod
    def nothing() -> CandidateList:
        """Return an empty list."""
        return CandidateList(np.empty(0, np.int64), np.empty(0, np.int64), np.empty(0, np.float32))


@dataclass(frozen=True, slots=True)
class Loaded:
    """What the start did: templates by where they came from, files refused, and the seconds it took."""

    templates: int
    from_files: int
    from_database: int
    refused: tuple[str, ...]
    seconds: float


@dataclass(frozen=True, slots=True)
class Backlog:
    """Changes that the index has still to follow, and the seconds for which the oldest of them waits."""

    changes: int
    seconds: float


@dataclass(frozen=True, slots=True)
class Progress:
    """How far the start has come with one index."""

    collection: str
    model: str
    done: int
    total: int
    source: str
    """segment files or database."""


class VectorIndex(Protocol):
    """The index of all collections and models. What is committed counts in every search that begins after it."""

    @property
    def loaded(self) -> Loaded:
        """What the start found, and how long it took."""
        ...

    @property
    def models(self) -> Mapping[str, tuple[int, int]]:
        """Row and dimension of models known without asking the database, by digest; neither ever changes."""
        ...

    @property
    def backlog(self) -> Backlog:
        """What the index has still to follow; searches know of it all the same."""
        ...

    def search(self, connection: sa.Connection, place: Place, probes: Matrix, k: int) -> list[CandidateList]:
        """Find for each of (Q,D) probes the k subjects of the highest cosine, each once with its best row."""
        ...

    def leave_out(self, place: Place, rows: Sequence[int]) -> None:
        """Give templates back no more, from this moment on: the database's own were found damaged."""
        ...

    def count(self, connection: sa.Connection, place: Place) -> int:
        """Count the templates of a collection and model: comparisons made by one search."""
        ...

    def sizes(self, connection: sa.Connection) -> dict[Place, tuple[int, int]]:
        """Return templates, and bytes of the index, of every collection and model."""
        ...

    def places(self, connection: sa.Connection) -> list[Place]:
        """Return collections and models of which the index holds anything."""
        ...

    def entries(self, connection: sa.Connection, place: Place) -> Iterator[tuple[Rows, Rows, Matrix]]:
        """Yield all that the index holds of a collection and model, in parts: rows, subjects, vectors."""
        ...

    def check(self) -> None:
        """Check that searches can be answered.

        Raises:
            StorageError: They cannot.
        """
        ...

    def close(self) -> None:
        """Stop working in the background."""
        ...


@runtime_checkable
class Compactable(Protocol):
    """An index in which something gathers that can be brought into its final shape."""

    def compact(self, *, thorough: bool = True) -> None:
        """Bring the index into its final shape now; thoroughly, also what could wait."""
        ...


@runtime_checkable
class Erasable(Protocol):
    """An index with files of its own."""

    def erase(self) -> None:
        """Let no file hold what was removed, before this returns."""
        ...


@runtime_checkable
class Resealable(Protocol):
    """An index with files that are encrypted at rest."""

    def reseal(self) -> None:
        """Write the files again, under the key that seals now."""
        ...


def distinct(rows: Rows, groups: Rows, scores: NDArray[np.float32], k: int) -> CandidateList:
    """Return the best row of each of the k best groups out of (M,) candidates in any order; equal scores go by row."""
    order = np.lexsort((rows, -scores))
    _, first = np.unique(groups[order], return_index=True)
    chosen = order[np.sort(first)[:k]]
    return CandidateList(rows[chosen], groups[chosen], scores[chosen])


def among(rows: Rows, living: Rows) -> NDArray[np.bool_]:
    """Return which of the ascending `rows` are in the ascending `living`."""
    if len(rows) == 0:
        return np.empty(0, bool)
    first, last = np.searchsorted(living, (rows[0], rows[-1] + 1))
    if np.array_equal(living[first:last], rows):  # the common case, without sorting
        return np.ones(len(rows), bool)
    return np.isin(rows, living[first:last], assume_unique=True)
