"""Sampled decisions in the database: kept for a while, read for reports, judged by clients.

A decision has a request id and, from the champion and from the challenger, score, threshold, decision, rank and
seconds: no image, no template, no name.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, replace
from datetime import datetime, timedelta
from typing import Any, Final

import sqlalchemy as sa

from service.database import paging
from service.database.base import Database
from service.database.paging import Page
from service.database.pruning import delete_oldest, prune_all
from service.database.schema import decision_results as results_table
from service.database.schema import decisions as table
from service.database.schema import now
from service.database.transaction import storage_errors
from service.decision import Outcome
from service.rollout.errors import DecisionNotFound
from service.rollout.model_decision import VERIFY, ModelDecision
from service.rollout.sampling import SampledDecision

PRUNE_SECONDS = 60.0
CHAMPION: Final = "champion"
CHALLENGER: Final = "challenger"


@dataclass(frozen=True, slots=True)
class Retention:
    """How many decisions are kept at most, and for how long."""

    rows: int
    days: float


@dataclass(frozen=True, slots=True)
class ModelResult:
    """What one model decided. `rank` is where its list has the other model's first subject."""

    model: str
    score: float | None
    threshold: float
    fmr: float | None
    decision: str
    rank: int | None
    seconds: float

    @property
    def accepts(self) -> bool:
        """Whether it is a match."""
        return self.decision == Outcome.MATCH


@dataclass(frozen=True, slots=True)
class LoggedDecision:
    """A decision of the champion, and of the challenger if there is one; `outcome` is what a client said was true."""

    row: int
    at: datetime
    request_id: str
    route: str
    face: int
    collection: str | None
    champion: ModelResult
    challenger: ModelResult | None
    agree: bool | None
    outcome: str | None

    @property
    def challenger_accepts(self) -> bool:
        """Whether the challenger took the probe for the person whom the champion had in mind."""
        result = self.challenger
        return result is not None and result.accepts and (self.route == VERIFY or result.rank == 1)

    def flat(self) -> dict[str, Any]:
        """List all fields by name, those of a result behind its role: `champion`, `champion_score` ..."""
        fields: dict[str, Any] = {}
        for name in LoggedDecision.__dataclass_fields__:
            value = getattr(self, name)
            if name in (CHAMPION, CHALLENGER):
                values = {} if value is None else asdict(value)
                fields |= {_flat_name(name, each): values.get(each) for each in ModelResult.__dataclass_fields__}
            else:
                fields[name] = value
        return fields


@dataclass(frozen=True, slots=True)
class LogQuery:
    """Which decisions: of a pair of models, a window of time, a route, collections.

    None leaves open, but for `challenger`, where it means decisions that no challenger made, unless with
    `any_challenger` those of the champion are asked for, whoever was tried beside it.
    """

    champion: str
    challenger: str | None
    since: datetime | None = None
    until: datetime | None = None
    route: str | None = None
    collections: frozenset[str] | None = None
    any_challenger: bool = False


@dataclass(frozen=True, slots=True)
class Reach:
    """Whose decisions somebody may judge: their own, and those of others in their collections if they `oversee` these.

    `collections` None means all. Two tenants may use one request id: each has a decision of their own under it.
    """

    principal: str
    collections: frozenset[str] | None
    oversees: bool


class DecisionLog:
    """The log of one database. Safe to call from many threads at once."""

    def __init__(
        self, database: Database[Any], retention: Retention, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._database = database
        self._retention = retention
        self._clock = clock
        self._prune_at = float("-inf")

    def keep(self, sampled: SampledDecision, others: Sequence[ModelDecision] | None) -> None:
        """Write the champion's decisions and, where it made any, the challenger's; soon, not at once."""
        self._database.defer(lambda transaction: _insert(transaction.connection, sampled, others))
        if self._clock() >= self._prune_at:
            self._prune_at = self._clock() + PRUNE_SECONDS
            self._database.defer(lambda transaction: self._prune_some(transaction.connection))

    def prune(self) -> None:
        """Delete what is beyond the retention, also where no decision is sampled any more.

        Raises:
            StorageError: The database cannot be used.
        """
        prune_all(self._database, self._prune_some)

    def _prune_some(self, connection: sa.Connection) -> int:
        newest = connection.scalar(sa.select(sa.func.max(table.c.row))) or 0
        oldest = now() - timedelta(days=self._retention.days)
        return delete_oldest(
            connection, table.c.row, (table.c.at < oldest) | (table.c.row <= newest - self._retention.rows)
        )

    def find(self, request_id: str, face: int, reach: Reach | None = None) -> LoggedDecision:
        """Find the newest decision of a request, among all or those within reach.

        Raises:
            DecisionNotFound: No decision of that request is kept.
            StorageError: The database cannot be used.
        """
        query = _ALL.where(table.c.request_id == request_id, table.c.face == face)
        if reach is not None:
            query = query.where(_within(reach))
        newest = query.order_by(table.c.row.desc()).limit(1)
        row = self._database.read(lambda connection: connection.execute(newest).one_or_none())
        if row is None:
            raise DecisionNotFound
        return _read(*row)

    def judge(self, decision: LoggedDecision, outcome: str, principal: str) -> LoggedDecision:
        """Note what was true of a decision; said again, the last word holds.

        Raises:
            StorageError: The database cannot be used.
        """
        values = {"outcome": outcome, "outcome_by": principal, "outcome_at": now()}
        change = sa.update(table).where(table.c.row == decision.row).values(**values)
        self._database.write(lambda connection: connection.execute(change))
        return replace(decision, outcome=outcome)

    def all(self, query: LogQuery) -> list[LoggedDecision]:
        """List the decisions of a query, oldest first.

        Raises:
            StorageError: The database cannot be used.
        """
        return read_decisions(self._database.engine, query)

    def page(
        self, query: LogQuery, disagreeing: bool = False, cursor: str | None = None, limit: int = 100
    ) -> Page[LoggedDecision]:
        """List the decisions of a query, or those among them on which the models disagree, newest first.

        Raises:
            CursorInvalid: The cursor was not made by this list.
            StorageError: The database cannot be used.
        """
        select = _select(query)
        if disagreeing:
            select = select.where(table.c.agree == sa.false())
        return paging.newest_first(self._database.engine, select, table.c.row, _read, cursor, limit)


def read_decisions(engine: sa.Engine, query: LogQuery) -> list[LoggedDecision]:
    """List the decisions of a query from a database, oldest first; also beside a running service.

    Raises:
        StorageError: The database cannot be used.
    """
    with storage_errors(), engine.connect() as connection:
        return [_read(*row) for row in connection.execute(_select(query).order_by(table.c.row))]


_champions, _challengers = results_table.alias(CHAMPION), results_table.alias(CHALLENGER)
_RESULT = list(ModelResult.__dataclass_fields__)
_HEAD = ["row", "at", "request_id", "route", "face", "collection", "agree", "outcome"]
_ALL = (
    sa.select(
        *(table.c[name] for name in _HEAD),
        *(_champions.c[name] for name in _RESULT),
        *(_challengers.c[name].label(f"{CHALLENGER}_{name}") for name in _RESULT),
    )
    .join(_champions, (_champions.c.decision_row == table.c.row) & (_champions.c.role == CHAMPION))
    .outerjoin(_challengers, (_challengers.c.decision_row == table.c.row) & (_challengers.c.role == CHALLENGER))
)


def _select(query: LogQuery) -> sa.Select[Any]:
    select = _ALL.where(_champions.c.model == query.champion)
    if not query.any_challenger:
        select = select.where(_challengers.c.model == query.challenger)
    if query.since is not None:
        select = select.where(table.c.at >= query.since)
    if query.until is not None:
        select = select.where(table.c.at < query.until)
    if query.route is not None:
        select = select.where(table.c.route == query.route)
    if query.collections is not None:
        select = select.where(table.c.collection.in_(query.collections))
    return select


def _within(reach: Reach) -> sa.ColumnElement[bool]:
    own = table.c.principal == reach.principal
    if reach.collections is None:
        # Decisions of before owners were noted are nobody's: whoever is limited to no collection may judge them.
        return sa.true() if reach.oversees else sa.or_(own, table.c.principal.is_(None))
    inside = table.c.collection.in_(reach.collections)
    if reach.oversees:
        return sa.or_(inside, sa.and_(own, table.c.collection.is_(None)))
    return sa.and_(own, sa.or_(inside, table.c.collection.is_(None)))


def _read(*values: Any) -> LoggedDecision:
    head = dict(zip(_HEAD, values, strict=False))
    champion, challenger = values[len(_HEAD) : len(_HEAD) + len(_RESULT)], values[len(_HEAD) + len(_RESULT) :]
    return LoggedDecision(
        champion=ModelResult(*champion),
        challenger=None if challenger[0] is None else ModelResult(*challenger),
        **head,
    )


def _insert(connection: sa.Connection, sampled: SampledDecision, others: Sequence[ModelDecision] | None) -> None:
    for face, champion in enumerate(sampled.decisions):
        challenger = others[face] if others else None
        values = {
            "at": sampled.at,
            "request_id": sampled.request_id,
            "route": sampled.route,
            "face": face,
            "collection": sampled.collection,
            "principal": sampled.principal,
            "agree": None if challenger is None else champion.agrees(challenger),
        }
        key = connection.execute(sa.insert(table), values).inserted_primary_key
        assert key is not None  # noqa: S101 - the table has one
        results = [_result(key[0], CHAMPION, champion, challenger)]
        if challenger is not None:
            results.append(_result(key[0], CHALLENGER, challenger, champion))
        connection.execute(sa.insert(results_table), results)


def _result(row: int, role: str, result: ModelDecision, other: ModelDecision | None) -> dict[str, Any]:
    return {
        "decision_row": row,
        "role": role,
        "model": result.model,
        "score": result.score,
        "threshold": result.threshold,
        "fmr": result.fmr,
        "decision": result.decision,
        "rank": None if other is None else result.rank_of_first(other),
        "seconds": result.seconds,
    }


def _flat_name(role: str, field: str) -> str:
    return role if field == "model" else f"{role}_{field}"


def flat_fields() -> list[str]:
    """Name the fields of `LoggedDecision.flat`, in their order."""
    names: list[str] = []
    for name in LoggedDecision.__dataclass_fields__:
        parts = ModelResult.__dataclass_fields__ if name in (CHAMPION, CHALLENGER) else ()
        names += [_flat_name(name, part) for part in parts] or [name]
    return names
