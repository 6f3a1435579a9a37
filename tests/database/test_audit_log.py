"""The audit log: what gathers is written together, and nothing of it is lost to a neighbour's failure."""

from __future__ import annotations

import sqlite3
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import NoReturn

import pytest
import sqlalchemy as sa

from service.database import audit_log
from service.database.audit_log import AuditEntry, AuditLog
from service.database.errors import StorageBusy
from service.database.schema import audit
from service.database.sqlite.engine import open_engine
from service.database.sqlite.writer import Writer
from service.database.transaction import Transaction
from tests.waiting import PATIENCE


@pytest.fixture
def engine(tmp_path: Path) -> Iterator[sa.Engine]:
    engine = open_engine(tmp_path)
    yield engine
    engine.dispose()


def entry(number: int) -> AuditEntry:
    return AuditEntry(f"request-{number}", "key:a", "verify", "match", "default", "facet-s@1.0.0", 0.25)


def nowhere(_: object) -> NoReturn:
    raise AssertionError


def kept(engine: sa.Engine) -> list[str]:
    with engine.connect() as connection:
        return list(connection.scalars(sa.select(audit.c.request_id).order_by(audit.c.row)))


def test_entries_that_gather_are_one_statement_in_their_order(engine: sa.Engine) -> None:
    inserts: list[bool] = []

    def watch(*event: object) -> None:
        if str(event[2]).startswith("INSERT INTO audit"):
            inserts.append(bool(event[-1]))

    sa.event.listen(engine, "before_cursor_execute", watch)
    writer = Writer(engine, lambda _: None, patience=0.05)
    log = AuditLog(writer.defer, nowhere)
    gate = threading.Event()
    held = threading.Thread(target=lambda: writer.submit(lambda _: gate.wait(PATIENCE)))
    held.start()  # so that they gather, however slowly they come
    for number in range(50):
        log.append(entry(number))
    gate.set()
    held.join()
    writer.close()
    assert kept(engine) == [f"request-{number}" for number in range(50)]
    assert len(inserts) < 10, "as many statements as there were pauses between commits"
    with engine.connect() as connection:
        row = connection.execute(sa.select(audit)).first()
    assert row is not None
    assert (row.principal, row.outcome, row.threshold) == ("key:a", "match", 0.25)


def test_a_commit_that_fails_for_a_neighbour_is_tried_again(engine: sa.Engine) -> None:
    writer = Writer(engine, lambda _: None, patience=0.2)
    log = AuditLog(writer.defer, nowhere)

    def fail(_: Transaction[object]) -> None:
        raise sa.exc.OperationalError("insert", {}, sqlite3.OperationalError("database or disk is full"))

    log.append(entry(0))
    log.append(entry(1))
    writer.defer(fail)
    writer.close()
    assert kept(engine) == ["request-0", "request-1"]


def test_what_comes_while_a_batch_is_written_is_in_the_next(engine: sa.Engine) -> None:
    works = []
    log = AuditLog(works.append, nowhere)
    log.append(entry(0))
    with engine.begin() as connection:
        works[0](Transaction(connection, ()))
    log.append(entry(1))
    assert len(works) == 2
    with engine.begin() as connection:
        works[1](Transaction(connection, ()))
    assert kept(engine) == ["request-0", "request-1"]


def test_a_store_that_takes_nothing_is_noticed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(audit_log, "MOST", 3)
    log = AuditLog(lambda _: None, nowhere)
    for number in range(3):
        log.append(entry(number))
    with pytest.raises(StorageBusy):
        log.append(entry(3))


def test_an_entry_is_refused_by_a_closed_store_each_time(engine: sa.Engine) -> None:
    writer = Writer(engine, lambda _: None)
    writer.close()
    log = AuditLog(writer.defer, nowhere)
    for number in range(2):
        with pytest.raises(Exception, match="closing"):
            log.append(entry(number))
