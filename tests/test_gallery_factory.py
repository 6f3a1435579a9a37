"""Only what the settings ask for is imported: an engine that is not in force costs no memory and no start."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

OPEN_EMBEDDED = """
from pathlib import Path
from service.gallery_factory import open_gallery
from service.settings import read_settings
open_gallery(read_settings(data=Path({data!r}))).close()
"""
OPEN_REPLICATED = """
from service.database.errors import StorageError
from service.gallery_factory import open_gallery
from service.settings import read_settings
settings = read_settings(index={index!r}, database="postgresql://facet@127.0.0.1:1/facet", milvus={milvus!r})
try:
    open_gallery(settings)
except StorageError:
    pass  # nobody listens there
"""
IMPORT_PGVECTOR = "import service.index.pgvector, service.gallery.replicated"
IMPORT_MILVUS = "import service.index.milvus.index, service.gallery.replicated"


def imported(code: str) -> set[str]:
    """The modules of a fresh interpreter that has run `code`."""
    shown = f"{code}\nimport sys\nprint(*sys.modules)"
    run = subprocess.run([sys.executable, "-c", shown], capture_output=True, text=True, check=True)
    return set(run.stdout.splitlines()[-1].split())


def test_an_embedded_gallery_imports_no_server_and_no_client(tmp_path: Path) -> None:
    modules = imported(OPEN_EMBEDDED.format(data=str(tmp_path)))
    assert {"faiss", "service.index.embedded.index"} <= modules
    assert not modules & {"psycopg", "pgvector", "pymilvus", "service.index.pgvector"}
    assert not {name for name in modules if name.startswith("service.index.milvus")}


@pytest.mark.parametrize(("index", "milvus"), [("pgvector", None), ("milvus", "http://127.0.0.1:1")])
def test_a_replicated_gallery_imports_no_faiss(index: str, milvus: str | None) -> None:
    modules = imported(OPEN_REPLICATED.format(index=index, milvus=milvus))
    assert {"psycopg", "service.database.postgres.database"} <= modules
    assert not {name for name in modules if name == "faiss" or name.startswith("service.index.embedded")}


@pytest.mark.parametrize("code", [IMPORT_PGVECTOR, IMPORT_MILVUS])
def test_an_index_on_servers_imports_no_faiss(code: str) -> None:
    modules = imported(code)
    assert "faiss" not in modules
    assert ("pgvector" in modules) == (code == IMPORT_PGVECTOR)
