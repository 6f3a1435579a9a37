"""Names that were stored before they had one spelling are composed when the database is opened."""

from __future__ import annotations

import gzip
import json
import sqlite3
import unicodedata
from contextlib import closing
from pathlib import Path

from service.database.sqlite.engine import open_engine
from service.gallery.embedded import open_embedded
from service.keys import Keys

RELEASE = Path(__file__).parent / "last_release" / "gallery.sqlite3.gz"


def test_stored_names_are_composed_and_no_two_become_one(tmp_path: Path) -> None:
    composed, taken_apart = (unicodedata.normalize(form, "José") for form in ("NFC", "NFD"))
    database = tmp_path / "gallery.sqlite3"
    database.write_bytes(gzip.decompress(RELEASE.read_bytes()))
    with closing(sqlite3.connect(database)) as connection, connection:
        connection.execute("UPDATE collections SET name = ?", (taken_apart,))
        connection.execute("UPDATE subjects SET name = ? WHERE name = 'person-1'", (taken_apart,))
        connection.execute("UPDATE subjects SET name = ? WHERE name = 'person-2'", (composed,))
        limited = ("0123456789", "door", "-", "[]", json.dumps([taken_apart]), "2030-01-01 00:00:00.000000")
        columns = "id, name, hash, scopes, collections, created_at"
        connection.execute(f"INSERT INTO keys ({columns}) VALUES (?, ?, ?, ?, ?, ?)", limited)
    with closing(open_embedded(tmp_path)) as gallery:
        assert [collection.name for collection in gallery.collections().items] == [composed]
        assert sorted(subject.name for subject in gallery.subjects(composed).items) == [composed, f"{composed} (2)"]
    engine = open_engine(tmp_path)
    assert {key.collections for key in Keys(engine).list()} == {frozenset({composed})}
    engine.dispose()
