"""Work that nobody waits for, in transactions of many; kept while the database is away, up to a bound."""

from __future__ import annotations

import logging
import threading
import time
from collections import deque
from collections.abc import Callable
from typing import Any

import sqlalchemy as sa

from service.database.errors import StorageBusy
from service.database.transaction import Transaction

log = logging.getLogger(__name__)
Work = Callable[[Transaction[Any]], Any]
AWAY = (sa.exc.OperationalError, sa.exc.TimeoutError, sa.exc.InterfaceError)
"""What is raised where the database is away, or hangs: the same work may go well the next time."""


class Deferred:
    """One thread that takes what has gathered."""

    def __init__(
        self,
        transact: Callable[[Work], Any],
        *,
        queue: int = 16_384,
        batch: int = 1_000,
        patience: float = 0.25,
        parting: float = 5.0,
    ) -> None:
        """Start the thread.

        Args:
            transact: Runs work in one transaction.
            queue: Pieces that may wait; one more is refused with StorageBusy.
            batch: Pieces in one transaction at most.
            patience: Seconds that a piece waits for others; also between two attempts.
            parting: Seconds for which `close` goes on trying.
        """
        self._transact, self._queue, self._batch = transact, queue, batch
        self._patience, self._parting = patience, parting
        self._waiting: deque[Work] = deque()
        self._closing = threading.Event()
        self._thread = threading.Thread(target=self._run, name="gallery-deferred", daemon=True)
        self._thread.start()

    def add(self, work: Work) -> None:
        """Take a piece.

        Raises:
            StorageBusy: So many wait that the database must be away.
        """
        if len(self._waiting) >= self._queue:
            raise StorageBusy
        self._waiting.append(work)

    def close(self) -> None:
        """Write what waits, if the database takes it."""
        self._closing.set()
        self._thread.join()
        end = time.monotonic() + self._parting
        while self._waiting and time.monotonic() < end:
            if not self._write():
                time.sleep(self._patience)
        if self._waiting:
            log.error("%d deferred changes were not written: the database is away", len(self._waiting))

    def _run(self) -> None:
        while not self._closing.wait(self._patience):
            while self._waiting and self._write():
                pass

    def _write(self) -> bool:
        """Write a batch; False when the database did not take it and the same must be tried again."""
        batch = [self._waiting.popleft() for _ in range(min(len(self._waiting), self._batch))]
        try:
            self._transact(lambda transaction: [work(transaction) for work in batch])
        except AWAY:
            self._waiting.extendleft(reversed(batch))
            return False
        except Exception:  # one of them cannot be done: the others must not suffer
            return self._write_each(batch)
        return True

    def _write_each(self, batch: list[Work]) -> bool:
        """Write one piece after another, but for those that cannot be done; False where some are to be tried again."""
        for number, work in enumerate(batch):
            try:
                self._transact(work)
            except AWAY:
                self._waiting.extendleft(reversed(batch[number:]))
                return False
            except Exception as error:
                log.warning("deferred work was lost: %s", error)
        return True
