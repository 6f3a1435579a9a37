"""What a gallery stands on: a store that keeps the record, and indexes that are derived from it."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from typing import Any, Protocol, TypeVar

import sqlalchemy as sa

from service.database.encryption import Keyring
from service.database.writer import Turn
from service.gallery.queries import Place
from service.gallery.records import Backlog, Loaded
from service.index.base import Found, Matrix, Rows
from service.index.changes import Effect

T = TypeVar("T")


class Store(Protocol):
    """The record. Every method may be called from any thread and raises StorageError's kinds."""

    @property
    def engine(self) -> sa.Engine:
        """For reads and small changes of tables that belong to other parts of the service."""
        ...

    @property
    def waiting(self) -> int:
        """Calls that wait for their turn or for a connection, at this moment."""
        ...

    def read(self, work: Callable[[sa.Connection], T]) -> T:
        """Run `work` on a connection that changes nothing."""
        ...

    def change(self, work: Callable[[Turn[Effect]], T]) -> T:
        """Run `work` whole or not at all; durable, and visible to every search, on return."""
        ...

    def change_alone(self, work: Callable[[Turn[Effect]], T]) -> T:
        """The same, and no other `work` of this kind runs meanwhile, in whatever process."""
        ...

    def defer(self, work: Callable[[Turn[Effect]], Any]) -> None:
        """Run `work` soon, and return at once."""
        ...

    def check(self) -> None:
        """Raises StorageError when the record cannot be changed."""
        ...

    def tidy(self) -> None:
        """Drop from the files what was erased from the record."""
        ...

    def close(self) -> None:
        """Finish what was admitted."""
        ...

    def release(self) -> None:
        """Give connections and files back."""
        ...


class Indexes(Protocol):
    """The indexes of all collections and models. What is committed counts in every search that begins after it."""

    @property
    def keyring(self) -> Keyring:
        """Opens and seals the templates of the record."""
        ...

    @property
    def loaded(self) -> Loaded:
        """What the start found, and how long it took."""
        ...

    @property
    def models(self) -> Mapping[str, tuple[int, int]]:
        """Row and dimension of models known without asking the record, by digest; neither ever changes."""
        ...

    @property
    def backlog(self) -> Backlog:
        """What the index has still to follow; searches know of it all the same."""
        ...

    def search(self, connection: sa.Connection, place: Place, probes: Matrix, k: int) -> list[Found]:
        """For each of (Q,D) probes the k subjects with the highest cosine, each once with its best template's row."""
        ...

    def count(self, connection: sa.Connection, place: Place) -> int:
        """Templates of a collection and model: comparisons made by one search."""
        ...

    def sizes(self, connection: sa.Connection) -> dict[Place, tuple[int, int]]:
        """Templates, and bytes of the index, of every collection and model."""
        ...

    def places(self, connection: sa.Connection) -> list[Place]:
        """Collections and models of which the index holds anything."""
        ...

    def entries(self, connection: sa.Connection, place: Place) -> Iterator[tuple[Rows, Rows, Matrix]]:
        """All that the index holds of a collection and model, in parts: rows, subjects, vectors."""
        ...

    def check(self) -> None:
        """Raises StorageError when searches cannot be answered."""
        ...

    def settle(self, *, thorough: bool = False) -> None:
        """Bring the index into its final shape now."""
        ...

    def reseal(self) -> None:
        """Write sealed files again, under the key that seals now."""
        ...

    def close(self) -> None:
        """Stop working in the background."""
        ...
