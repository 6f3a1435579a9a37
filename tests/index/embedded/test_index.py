"""The embedded index as a whole: it follows changes whatever the database does, and keeps files of new places."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import sqlalchemy as sa

from service.database.encryption import Keyring
from service.database.schema import models
from service.database.sqlite.engine import open_engine
from service.index.changes import Added
from service.index.embedded.index import EmbeddedIndex
from service.index.embedded.tiered import Tiers
from service.index.stored_templates import TemplateReader
from tests.gallery.vectors import people

PLACE = (1, 1)


def test_changes_of_a_new_place_are_followed_while_no_connection_is_free(tmp_path: Path) -> None:
    file = open_engine(tmp_path)
    with file.begin() as connection:
        connection.execute(sa.insert(models), {"row": PLACE[1], "digest": "a" * 64, "dim": 32})
    vectors = people(50, 1, 32)
    added = [Added(*PLACE, number, number, vector) for number, vector in enumerate(vectors, start=1)]
    engine = sa.create_engine(file.url, pool_size=1, max_overflow=0, pool_timeout=0.1)
    segments = tmp_path / "segments"
    keyring = Keyring.empty()
    index = EmbeddedIndex(engine, segments, Tiers(exact=20, fresh=10), 3600.0, keyring, TemplateReader(keyring))
    with engine.connect() as taken:
        index.apply(added)
        (candidates,) = index.search(taken, PLACE, vectors[:1], 1)
    assert np.array_equal(candidates.rows, [1])
    index.compact()
    assert list(segments.glob("1-1/*.segment"))
    assert index.models == {"a" * 64: (PLACE[1], 32)}
    index.close()
    engine.dispose()
    file.dispose()
