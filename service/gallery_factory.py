"""The gallery that the settings ask for; only the engine in force is loaded."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

import sqlalchemy as sa

from service.database.postgres import Database, open_database
from service.database.sqlite import open_engine
from service.gallery.embedded import open_embedded
from service.gallery.gallery import Gallery, Observe, unobserved
from service.gallery.records import Progress
from service.settings import Settings

if TYPE_CHECKING:
    from service.index.milvus.client import Server


def open_gallery(
    settings: Settings, progress: Callable[[Progress], None] | None = None, observe: Observe = unobserved
) -> Gallery:
    """Open the gallery, ready to be used. Raises: StorageError."""
    database = database_of(settings)
    if database is None:
        return open_embedded(settings.data, keyring=settings.keyring, progress=progress, observe=observe)
    from service.gallery.replicated import open_replicated  # noqa: PLC0415 - most services are on one machine

    return open_replicated(database, milvus_of(settings), observe=observe)


def open_record(settings: Settings) -> sa.Engine:
    """The record alone, as the service left it; works beside a running service. Raises: StorageError."""
    database = database_of(settings)
    return open_engine(settings.data) if database is None else open_database(database)


def database_of(settings: Settings) -> Database | None:
    """The database that holds the record, None when it is a file."""
    if settings.database is None:
        return None
    return Database(
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
    """The Milvus that searches, None when another index does."""
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
