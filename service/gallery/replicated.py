"""Opens a gallery that many processes share: PostgreSQL keeps it, pgvector or Milvus searches it."""

from __future__ import annotations

import logging
from datetime import timedelta
from typing import TYPE_CHECKING

from service.database.encryption import Keyring
from service.database.postgres.database import PostgresDatabase
from service.database.postgres.engine import PostgresOptions
from service.gallery.gallery import KEEP_REPLY, Gallery, Observe, unobserved
from service.index.changes import IndexChange
from service.index.stored_templates import TemplateReader

if TYPE_CHECKING:
    from service.index.milvus.client import Server
    from service.index.milvus.index import MilvusIndex
    from service.index.pgvector import PgvectorIndex

log = logging.getLogger(__name__)


def open_replicated(
    options: PostgresOptions,
    milvus: Server | None = None,
    *,
    keep_reply: timedelta = KEEP_REPLY,
    observe: Observe = unobserved,
) -> Gallery:
    """Open the gallery on a PostgreSQL database, and make or complete its schema and its index.

    Args:
        options: Where the database is, and the limits of using it.
        milvus: The index; without it, pgvector in the same database.
        keep_reply: How long replies are kept for repeated requests.
        observe: Told how long each call of the database or the index took.

    Raises:
        StorageError: The database or the index cannot be used.
    """
    database: PostgresDatabase[IndexChange] = PostgresDatabase(options)
    keyring = Keyring.empty()
    reader = TemplateReader(keyring)
    try:
        index = _open_index(database, milvus, observe, reader)
    except BaseException:
        database.close()
        database.release()
        raise
    database.follow(index.stage)
    log.info("gallery ready: %d templates in %.2f s", index.loaded.templates, index.loaded.seconds)
    return Gallery(database, index, keyring=keyring, reader=reader, keep_reply=keep_reply, observe=observe)


def _open_index(
    database: PostgresDatabase[IndexChange], milvus: Server | None, observe: Observe, reader: TemplateReader
) -> PgvectorIndex | MilvusIndex:
    """The index in force; the modules of the other are never imported, nor what they need."""
    if milvus is None:
        from service.index.pgvector import PgvectorIndex  # noqa: PLC0415

        return PgvectorIndex(database, reader)
    from service.index.milvus.index import MilvusIndex  # noqa: PLC0415

    return MilvusIndex(database, milvus, observe, reader)
