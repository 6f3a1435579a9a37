"""A PostgreSQL database of the last release: its logged decisions are carried over, and new ones come after them."""

from __future__ import annotations

import gzip
import json
import sqlite3
from datetime import UTC, datetime
from pathlib import Path

import pytest
import sqlalchemy as sa
from alembic import command
from alembic.config import Config

from service.api.schemas.rollout import Case
from service.database import migrations
from service.database.postgres.engine import connect_postgres
from service.database.schema import decisions
from service.gallery.replicated import open_replicated
from service.rollout.decision_log import LogQuery, read_decisions
from tests.engines.postgres import Postgres

pytestmark = pytest.mark.engines
FOLDER = Path(__file__).parents[1] / "database" / "last_release"
MOMENTS = ("at", "outcome_at")


def test_logged_decisions_are_as_the_release_told_them(postgres: Postgres, tmp_path: Path) -> None:
    written = tmp_path / "gallery.sqlite3"
    written.write_bytes(gzip.decompress((FOLDER / "gallery.sqlite3.gz").read_bytes()))
    before = sqlite3.connect(written)
    before.row_factory = sqlite3.Row
    rows = [dict(row) for row in before.execute("SELECT * FROM comparisons")]
    before.close()
    for row in rows:
        row |= {name: row[name] and datetime.fromisoformat(row[name]).replace(tzinfo=UTC) for name in MOMENTS}
        row["agree"] = None if row["agree"] is None else bool(row["agree"])

    database = postgres.database()
    engine = connect_postgres(database)
    config = Config()
    config.set_main_option("script_location", str(Path(migrations.__file__).parent))
    with engine.connect() as connection, connection.begin():
        config.attributes["connection"] = connection
        command.upgrade(config, "0005")
        connection.execute(sa.insert(sa.Table("comparisons", sa.MetaData(), autoload_with=connection)), rows)
    open_replicated(database).close()

    answered = json.loads((FOLDER / "decisions.json").read_text())
    pairs = [LogQuery(answered[0]["champion"], None), LogQuery(answered[1]["champion"], answered[1]["challenger"])]
    told = [Case.of(each).model_dump(mode="json") for query in pairs for each in read_decisions(engine, query)]
    assert told == answered
    with engine.connect() as connection, connection.begin():
        values = {"at": rows[0]["at"], "request_id": "new", "route": "verify", "face": 0}
        (row,) = connection.execute(sa.insert(decisions), values).inserted_primary_key or ()
    assert row == len(rows) + 1
    engine.dispose()
