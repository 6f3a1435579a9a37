"""The servers that tests of this folder share, and galleries of every kind on them."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TypeAlias

import pytest

from service.database.schema import new_id
from service.gallery.embedded import open_embedded
from service.gallery.gallery import Gallery
from service.gallery.replicated import open_replicated
from service.index.milvus.client import Server
from tests.engines.milvus import Milvus
from tests.engines.postgres import Postgres

KINDS = ("embedded", "pgvector", "milvus")
Open: TypeAlias = Callable[[], Gallery]
Places: TypeAlias = Callable[[str], Open]


@pytest.fixture(scope="session")
def postgres() -> Iterator[Postgres]:
    """A PostgreSQL server for the whole run; tests make databases of their own in it."""
    server = Postgres()
    try:
        server.start()
        yield server
    finally:
        server.remove()


@pytest.fixture(scope="session")
def milvus() -> Iterator[Milvus]:
    """A Milvus server for the whole run; every store has collections of its own in it."""
    server = Milvus()
    try:
        server.start()
        yield server
    finally:
        server.remove()


@pytest.fixture
def places(request: pytest.FixtureRequest, tmp_path: Path) -> Places:
    """Gives, for a kind of gallery, what opens a new one of it; called again, that opens the same one."""

    def place(kind: str) -> Open:
        if kind == "embedded":
            folder = tmp_path / new_id()
            return lambda: open_embedded(folder)
        postgres: Postgres = request.getfixturevalue("postgres")
        database = postgres.database()
        server = Server(request.getfixturevalue("milvus").address) if kind == "milvus" else None
        return lambda: open_replicated(database, server)

    return place
