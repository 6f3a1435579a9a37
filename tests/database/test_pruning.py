"""What is kept for a while leaves when its time is up, however much of it has gathered."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import closing
from datetime import timedelta
from functools import partial
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa

from service.database import pruning
from service.database.audit_log import AuditEntry, insert_entries, prune_audit
from service.database.base import Database
from service.database.pruning import prune_all
from service.database.schema import audit, decisions, now
from service.gallery.embedded import open_embedded
from service.rollout.decision_log import DecisionLog, Retention


@pytest.fixture
def database(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Database[Any]]:
    """One of which two rows are deleted at a time."""
    monkeypatch.setattr(pruning, "AT_ONCE", 2)
    with closing(open_embedded(tmp_path)) as gallery:
        yield gallery.database


def left(database: Database[Any], table: sa.Table) -> list[int]:
    return database.read(lambda connection: list(connection.scalars(sa.select(table.c.row).order_by(table.c.row))))


def test_old_entries_of_the_audit_log_go_a_part_at_a_time(database: Database[Any]) -> None:
    entries = [AuditEntry(str(number), "key:1", "verify", "match") for number in range(7)]
    database.write(lambda connection: insert_entries(connection, entries))
    old = sa.update(audit).where(audit.c.row <= 5).values(at=now() - timedelta(days=8))
    database.write(lambda connection: connection.execute(old))
    forget = partial(prune_audit, days=7)
    assert database.write(forget) == 2
    assert left(database, audit) == [3, 4, 5, 6, 7]
    assert prune_all(database, forget) == 3
    assert left(database, audit) == [6, 7]
    assert prune_all(database, partial(prune_audit, days=0)) == 0


@pytest.mark.parametrize(("rows", "days", "kept"), [(3, 30.0, [5, 6, 7]), (100, 7.0, [6, 7])])
def test_decisions_go_by_their_age_and_by_their_number(
    database: Database[Any], rows: int, days: float, kept: list[int]
) -> None:
    values = {"route": "verify", "face": 0, "request_id": "r"}
    made = [{**values, "at": now() - timedelta(days=8 if number < 5 else 0)} for number in range(7)]
    database.write(lambda connection: connection.execute(sa.insert(decisions), made))
    DecisionLog(database, Retention(rows, days)).prune()
    assert left(database, decisions) == kept
