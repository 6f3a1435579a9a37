"""Work that nobody waits for: what cannot be done is lost, and nothing besides."""

from __future__ import annotations

import logging
from typing import Any

import pytest
import sqlalchemy as sa

from service.database.postgres.deferred import Deferred, Work


def test_a_database_that_goes_away_beside_work_that_cannot_be_done_costs_no_other_work(
    caplog: pytest.LogCaptureFixture,
) -> None:
    done: list[str] = []
    written: list[str] = []
    failures = [sa.exc.OperationalError("", {}, Exception("away"))]

    def transact(work: Work) -> None:
        nothing: Any = None
        work(nothing)
        written.extend(done)
        done.clear()

    def good(name: str) -> Work:
        def work(_: Any) -> None:
            if name == "third" and not done and failures:  # by itself, after the others failed together
                raise failures.pop()
            done.append(name)

        return work

    def bad(_: Any) -> None:
        done.clear()
        raise ValueError("cannot be done")

    with caplog.at_level(logging.WARNING):
        deferred = Deferred(transact, patience=3600.0)
        for work in (good("first"), bad, good("third"), good("fourth")):
            deferred.add(work)
        deferred._patience = 0.01  # between the tries of the end, not before the first one
        deferred.close()
    assert written == ["first", "third", "fourth"]
    assert not failures
    assert [record.getMessage() for record in caplog.records] == ["deferred work was lost: cannot be done"]
