"""The database as commands use it, beside a running service."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import sqlalchemy as sa

from service.gallery_factory import connect_database
from service.settings import Settings


@contextmanager
def connected(settings: Settings) -> Iterator[sa.Engine]:
    """Connect to the database of a gallery that is there.

    Raises:
        StorageError: It cannot be opened.
    """
    engine = connect_database(settings)
    try:
        yield engine
    finally:
        engine.dispose()


@contextmanager
def writing(settings: Settings) -> Iterator[sa.Connection]:
    """Connect for one transaction, which is committed on leaving.

    Raises:
        StorageError: The database cannot be opened or written.
    """
    with (
        connected(settings) as engine,
        engine.connect().execution_options(immediate=True) as connection,
        connection.begin(),
    ):
        yield connection
