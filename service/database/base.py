"""What a database offers to whatever stands on it: transactions, alone or beside others, at once or soon."""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import Future
from typing import Any, Protocol, TypeVar

import sqlalchemy as sa

from service.database.transaction import Transaction

T = TypeVar("T")
E = TypeVar("E")


class Database(Protocol[E]):
    """A database whose changes of kind `E` are followed by something derived from it.

    Every method may be called from any thread and raises StorageError's kinds.
    """

    engine: sa.Engine
    """For reads that need no admission, and for tools that run beside a service."""

    @property
    def waiting(self) -> int:
        """Calls that wait for their turn or for a connection, at this moment."""
        ...

    def read(self, work: Callable[[sa.Connection], T]) -> T:
        """Run `work` on a connection that changes nothing."""
        ...

    def change(self, work: Callable[[Transaction[E]], T]) -> T:
        """Run `work` whole or not at all; on return it is durable, and followed."""
        ...

    def change_alone(self, work: Callable[[Transaction[E]], T]) -> T:
        """Do the same while no other `work` of this kind runs, in whatever process."""
        ...

    def write(self, work: Callable[[sa.Connection], T]) -> T:
        """Do the same for tables that nothing is derived from."""
        return self.change_alone(lambda transaction: work(transaction.connection))

    def begin_write(self, work: Callable[[sa.Connection], T]) -> Future[T]:
        """Begin what `write` does, and return at once: the future ends when it is durable, or has failed.

        Raises:
            StorageError: It cannot even begin.
        """
        ...

    def defer(self, work: Callable[[Transaction[E]], Any]) -> None:
        """Run `work` soon, with another commit, and return at once. A crash may lose the last moments of it."""
        ...

    def await_changes(self, seconds: float) -> None:
        """Wait until what is committed is followed, where the two are not one, but only for so many seconds."""
        ...

    def check(self) -> None:
        """Check that changes are possible.

        Raises:
            StorageError: They are not.
        """
        ...

    def tidy(self, *, copies: bool = True) -> None:
        """Drop from the files what was erased from the tables, and copies from before the schema changed.

        Raises:
            ErasureUnfinished: Somebody still reads them.
        """
        ...

    def close(self) -> None:
        """Finish what was admitted."""
        ...

    def release(self) -> None:
        """Give connections and files back."""
        ...
