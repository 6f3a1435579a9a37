"""A connection to PostgreSQL that does not wait for ever: a server that hangs cannot end its own statements."""

from __future__ import annotations

import time
from typing import Any, Self, TypeVar

import psycopg
from psycopg.abc import PQGen
from psycopg.rows import TupleRow

T = TypeVar("T")
INTERVAL = 0.1


class TimedConnection(psycopg.Connection[TupleRow]):
    """Gives up, and closes itself, when an answer takes longer than `patience` seconds."""

    patience: float

    @classmethod
    def connect(cls, conninfo: str = "", *, patience: float = 20.0, **options: Any) -> Self:  # type: ignore[override]
        """Connect.

        Args:
            conninfo: As psycopg takes it.
            patience: Seconds to wait for one answer.
            **options: The parts of the connection string.

        Raises:
            psycopg.OperationalError: The server cannot be reached.
        """
        connection = super().connect(conninfo, **options)
        connection.patience = patience
        return connection

    def wait(self, gen: PQGen[T], interval: float = INTERVAL, timeout: float | None = None) -> T:
        """Wait for an answer.

        Raises:
            psycopg.OperationalError: None came in time.
        """
        patience = getattr(self, "patience", 20.0) if timeout is None else timeout
        started = time.monotonic()
        try:
            return super().wait(gen, interval, patience)
        except psycopg.OperationalError:
            if time.monotonic() - started < patience:  # the server's own word, or the end of the connection
                raise
            self.pgconn.finish()
            raise psycopg.OperationalError("the server does not answer") from None
