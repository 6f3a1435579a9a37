"""Time limits lifted for work that grows with what is stored: a fill, a verification, a migration."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import sqlalchemy as sa

HOUR = 3600.0


@contextmanager
def without_timeouts(connection: sa.Connection) -> Iterator[None]:
    """Lift the limits of a database server's statements, and of waiting for them, until the block ends."""
    if connection.dialect.name != "postgresql":
        yield
        return
    connection.exec_driver_sql("SET LOCAL statement_timeout = 0")
    connection.exec_driver_sql("SET LOCAL lock_timeout = 0")
    driver: Any = connection.connection.driver_connection
    patience, driver.patience = driver.patience, HOUR
    try:
        yield
    finally:
        driver.patience = patience
