"""Sampled decisions in the database: kept for a while, read for reports, judged by clients.

A case has a request id, scores, thresholds, decisions, ranks and seconds: no image, no template, no name.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from typing import Any

import sqlalchemy as sa

from service.database import paging
from service.database.base import Database
from service.database.paging import Page
from service.database.schema import comparisons as table
from service.database.schema import now
from service.database.transaction import storage_errors
from service.rollout.challenger_result import Opinion, Sampled
from service.rollout.errors import DecisionNotFound

PRUNE_SECONDS = 60.0


@dataclass(frozen=True, slots=True)
class Retention:
    """How many cases are kept at most, and for how long."""

    rows: int
    days: float


@dataclass(frozen=True, slots=True)
class Case:
    """One decision of the champion, what the challenger decided (None without one), and what was true (None unless
    told). `champion_rank` is where the champion's list has the challenger's first subject, `challenger_rank` the
    reverse.
    """

    row: int
    at: datetime
    request_id: str
    route: str
    face: int
    collection: str | None
    champion: str
    champion_score: float | None
    champion_threshold: float
    champion_fmr: float | None
    champion_decision: str
    champion_rank: int | None
    champion_seconds: float
    challenger: str | None
    challenger_score: float | None
    challenger_threshold: float | None
    challenger_fmr: float | None
    challenger_decision: str | None
    challenger_rank: int | None
    challenger_seconds: float | None
    agree: bool | None
    outcome: str | None


@dataclass(frozen=True, slots=True)
class Choice:
    """Which cases: of a pair of models, a window of time, a route, collections. None leaves open; `challenger` None
    means cases that no challenger decided.
    """

    champion: str
    challenger: str | None
    since: datetime | None = None
    until: datetime | None = None
    route: str | None = None
    collections: frozenset[str] | None = None


class Cases:
    """The cases of one store. Safe to call from many threads at once."""

    def __init__(
        self, database: Database[Any], retention: Retention, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._database = database
        self._retention = retention
        self._clock = clock
        self._prune_at = float("-inf")

    def keep(self, sampled: Sampled, others: Sequence[Opinion] | None) -> None:
        """Write the champion's opinions and, where it has any, the challenger's; soon, not at once."""
        values = [
            _values(sampled, face, opinion, others[face] if others else None)
            for face, opinion in enumerate(sampled.opinions)
        ]
        self._database.defer(lambda transaction: transaction.connection.execute(sa.insert(table), values))
        if self._clock() >= self._prune_at:
            self._prune_at = self._clock() + PRUNE_SECONDS
            self._database.defer(lambda transaction: self.prune(transaction.connection))

    def prune(self, connection: sa.Connection) -> None:
        """Delete what is beyond the retention."""
        newest = connection.scalar(sa.select(sa.func.max(table.c.row))) or 0
        oldest = now() - timedelta(days=self._retention.days)
        connection.execute(
            sa.delete(table).where((table.c.at < oldest) | (table.c.row <= newest - self._retention.rows))
        )

    def find(self, request_id: str, face: int) -> Case:
        """The newest case of a request.

        Raises:
            DecisionNotFound: No decision of that request is kept.
            StorageError: The database cannot be used.
        """
        asked = sa.select(*_COLUMNS).where(table.c.request_id == request_id, table.c.face == face)
        newest = asked.order_by(table.c.row.desc()).limit(1)
        row = self._database.read(lambda connection: connection.execute(newest).one_or_none())
        if row is None:
            raise DecisionNotFound
        return Case(*row)

    def judge(self, case: Case, outcome: str, principal: str) -> Case:
        """Note what was true of a case; said again, the last word holds.

        Raises:
            StorageError: The database cannot be used.
        """
        values = {"outcome": outcome, "outcome_by": principal, "outcome_at": now()}
        self._database.write(
            lambda connection: connection.execute(sa.update(table).where(table.c.row == case.row).values(**values))
        )
        return replace(case, outcome=outcome)

    def all(self, choice: Choice) -> list[Case]:
        """The cases chosen, oldest first.

        Raises:
            StorageError: The database cannot be used.
        """
        return read_cases(self._database.engine, choice)

    def page(
        self, choice: Choice, disagreeing: bool = False, cursor: str | None = None, limit: int = 100
    ) -> Page[Case]:
        """The cases chosen, or those among them on which the models disagree, newest first.

        Raises:
            CursorInvalid: The cursor was not made by this list.
            StorageError: The database cannot be used.
        """
        asked = _chosen(choice)
        if disagreeing:
            asked = asked.where(table.c.agree == sa.false())
        return paging.newest_first(self._database.engine, asked, table.c.row, Case, cursor, limit)


def read_cases(engine: sa.Engine, choice: Choice) -> list[Case]:
    """The cases chosen from a record, oldest first; also beside a running service.

    Raises:
        StorageError: The database cannot be used.
    """
    with storage_errors(), engine.connect() as connection:
        return [Case(*row) for row in connection.execute(_chosen(choice).order_by(table.c.row))]


_COLUMNS = [table.c[name] for name in Case.__dataclass_fields__]


def _chosen(choice: Choice) -> sa.Select[Any]:
    asked = sa.select(*_COLUMNS).where(table.c.champion == choice.champion, table.c.challenger == choice.challenger)
    if choice.since is not None:
        asked = asked.where(table.c.at >= choice.since)
    if choice.until is not None:
        asked = asked.where(table.c.at < choice.until)
    if choice.route is not None:
        asked = asked.where(table.c.route == choice.route)
    if choice.collections is not None:
        asked = asked.where(table.c.collection.in_(choice.collections))
    return asked


def _values(sampled: Sampled, face: int, champion: Opinion, challenger: Opinion | None) -> dict[str, Any]:
    return {
        "at": sampled.at,
        "request_id": sampled.request_id,
        "route": sampled.route,
        "face": face,
        "collection": sampled.collection,
        "champion": champion.model,
        "champion_score": champion.score,
        "champion_threshold": champion.threshold,
        "champion_fmr": champion.rate,
        "champion_decision": champion.decision,
        "champion_rank": challenger and champion.rank_of_first(challenger),
        "champion_seconds": champion.seconds,
        "challenger": challenger and challenger.model,
        "challenger_score": challenger and challenger.score,
        "challenger_threshold": challenger and challenger.threshold,
        "challenger_fmr": challenger and challenger.rate,
        "challenger_decision": challenger and challenger.decision,
        "challenger_rank": challenger and challenger.rank_of_first(champion),
        "challenger_seconds": challenger and challenger.seconds,
        "agree": challenger and champion.agrees(challenger),
    }
