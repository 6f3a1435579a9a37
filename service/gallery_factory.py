"""The gallery that the settings ask for; only the modules of its own database and index are imported."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

import sqlalchemy as sa

from service.database.postgres.engine import PostgresOptions, connect_postgres
from service.database.sqlite.engine import open_engine
from service.gallery.gallery import Gallery, Observe, unobserved
from service.index.base import Progress
from service.settings import Settings

if TYPE_CHECKING:
    from service.index.milvus.client import Server


def open_gallery(
    settings: Settings, progress: Callable[[Progress], None] | None = None, observe: Observe = unobserved
) -> Gallery:
    """Open the gallery, ready to be used.

    Raises:
        StorageError: The database cannot be used.
    """
    options = database_of(settings)
    if options is None:
        from service.gallery.embedded import open_embedded  # noqa: PLC0415

        return open_embedded(settings.data, keyring=settings.keyring, progress=progress, observe=observe)
    from service.gallery.replicated import open_replicated  # noqa: PLC0415

    return open_replicated(options, milvus_of(settings), observe=observe)


def connect_database(settings: Settings) -> sa.Engine:
    """Connect to the database alone; works beside a running service.

    Raises:
        StorageError: It cannot be opened.
    """
    options = database_of(settings)
    return open_engine(settings.data) if options is None else connect_postgres(options)


def database_of(settings: Settings) -> PostgresOptions | None:
    """Return the database server that keeps the gallery, None when a file does."""
    if settings.database is None:
        return None
    return PostgresOptions(
        sa.make_url(settings.database),
        settings.database_password.get_secret_value(),
        settings.database_sslmode,
        settings.database_sslrootcert,
        settings.database_connections,
        settings.database_queue,
        settings.database_wait_seconds,
        settings.database_statement_seconds,
    )


def milvus_of(settings: Settings) -> Server | None:
    """Return the Milvus that searches, None when another index does."""
    if settings.milvus is None:
        return None
    from service.index.milvus.client import Server  # noqa: PLC0415 - as above

    return Server(
        settings.milvus,
        settings.milvus_user,
        settings.milvus_password.get_secret_value(),
        settings.milvus_sslrootcert,
        settings.milvus_seconds,
    )
