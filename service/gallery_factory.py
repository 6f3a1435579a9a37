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

        return open_embedded(
            settings.storage.data, keyring=settings.storage.keyring, progress=progress, observe=observe
        )
    from service.gallery.replicated import open_replicated  # noqa: PLC0415

    return open_replicated(options, milvus_of(settings), observe=observe)


def connect_database(settings: Settings) -> sa.Engine:
    """Connect to the database alone; works beside a running service.

    Raises:
        StorageError: It cannot be opened.
    """
    options = database_of(settings)
    return open_engine(settings.storage.data) if options is None else connect_postgres(options)


def database_of(settings: Settings) -> PostgresOptions | None:
    """Return the database server that keeps the gallery, None when a file does."""
    server = settings.database
    if server.url is None:
        return None
    return PostgresOptions(
        url=sa.make_url(server.url),
        password=server.password.get_secret_value(),
        sslmode=server.sslmode,
        sslrootcert=server.sslrootcert,
        connections=server.connections,
        queue=server.queue,
        wait_seconds=server.wait_seconds,
        statement_seconds=server.statement_seconds,
    )


def milvus_of(settings: Settings) -> Server | None:
    """Return the Milvus that searches, None when another index does."""
    server = settings.milvus
    if server.url is None:
        return None
    from service.index.milvus.client import Server  # noqa: PLC0415 - as above

    return Server(
        address=server.url,
        user=server.user,
        password=server.password.get_secret_value(),
        sslrootcert=server.sslrootcert,
        seconds=server.seconds,
    )
