"""A connection to PostgreSQL that does not wait for ever: a server that hangs cannot end its own statements."""

from __future__ import annotations

from typing import Any, Self, TypeVar

import psycopg
from psycopg.abc import PQGen
from psycopg.rows import TupleRow

T = TypeVar("T")
INTERVAL = 0.1


class PatientConnection(psycopg.Connection[TupleRow]):
    """Gives up, and closes itself, when an answer takes longer than `patience` seconds."""

    patience: float

    @classmethod
    def connect(cls, conninfo: str = "", *, patience: float = 20.0, **given: Any) -> Self:  # type: ignore[override]
        """Connect. Raises: psycopg.OperationalError."""
        made = super().connect(conninfo, **given)
        made.patience = patience
        return made

    def wait(self, gen: PQGen[T], interval: float = INTERVAL, timeout: float | None = None) -> T:
        """Wait for an answer. Raises: psycopg.OperationalError when none comes in time."""
        patience = getattr(self, "patience", 20.0) if timeout is None else timeout
        try:
            return super().wait(gen, interval, patience)
        except psycopg.errors._WaitTimeout:
            self.pgconn.finish()
            raise psycopg.OperationalError("the server does not answer") from None
