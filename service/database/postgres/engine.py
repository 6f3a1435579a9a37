"""PostgreSQL as the database: how it is reached, and what protects the service from one that does not answer."""

from __future__ import annotations

from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any, Literal, TypeVar

import sqlalchemy as sa

from service.database.errors import StorageUnavailable

T = TypeVar("T")
SslMode = Literal["disable", "allow", "prefer", "require", "verify-ca", "verify-full"]
GRACE = 5.0
"""Seconds beyond the server's own limit after which a silent server is given up."""


@dataclass(frozen=True, slots=True)
class PostgresOptions:
    """One PostgreSQL database and the limits of using it; seconds are of one statement and of one wait."""

    url: sa.URL
    password: str = field(default="", repr=False)
    sslmode: SslMode = "prefer"
    sslrootcert: Path | None = None
    connections: int = 8
    queue: int = 64
    """Calls that may wait for a connection; one more is refused with StorageBusy."""
    wait_seconds: float = 5.0
    statement_seconds: float = 15.0


def connect_postgres(options: PostgresOptions) -> sa.Engine:
    """Make an engine that connects when it is first used.

    Raises:
        StorageUnavailable: The driver is not installed.
    """
    try:
        from service.database.postgres.timed_connection import (  # noqa: PLC0415 - the driver is an extra
            TimedConnection,
        )
    except ImportError as error:
        raise StorageUnavailable("PostgreSQL needs its driver: pip install pgvector 'psycopg[binary]'.") from error
    limit = round(1000 * options.statement_seconds)
    parameters: dict[str, Any] = {
        **options.url.query,
        "host": options.url.host or options.url.query.get("host"),
        "port": options.url.port or options.url.query.get("port"),
        "user": options.url.username,
        "dbname": options.url.database,
        "password": options.password or None,
        "sslmode": options.sslmode,
        "sslrootcert": None if options.sslrootcert is None else str(options.sslrootcert),
        "application_name": "facet",
        "connect_timeout": max(2, round(options.wait_seconds)),
        # A peer that vanished without a word is noticed within seconds, not hours.
        "keepalives_idle": 5,
        "keepalives_interval": 2,
        "keepalives_count": 3,
        "tcp_user_timeout": 10_000,
        "options": f"-c statement_timeout={limit} -c lock_timeout={limit} "
        f"-c idle_in_transaction_session_timeout={2 * limit} -c jit=off",
    }
    connect = partial(TimedConnection.connect, patience=options.statement_seconds + GRACE)
    settings = {name: _joined(value) for name, value in parameters.items() if value not in (None, "")}
    return sa.create_engine(
        sa.URL.create("postgresql+psycopg"),
        creator=partial(connect, **settings),
        isolation_level="READ COMMITTED",
        hide_parameters=True,  # templates are among them: no error message may hold one
        pool_pre_ping=True,
        pool_size=options.connections,
        max_overflow=0,
        pool_timeout=options.wait_seconds,
        pool_recycle=1800,
    )


def _joined(value: Any) -> Any:
    """Several hosts of one cluster are named in one value."""
    return ",".join(value) if isinstance(value, tuple) else value
