"""Champion and challenger: which model answers, and which is tried beside it.

The roles are rows of the database, never changed and never deleted; the last one holds. Every process reads it at most
once a second, so that all replicas agree within that time. Before the first row the settings name the champion, whom a
row keeps when another one comes: a rollback goes back to the model that answered, whatever the settings say by then.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Literal

import sqlalchemy as sa

from service.database import paging
from service.database.base import Database
from service.database.errors import StorageError
from service.database.paging import Page
from service.database.schema import now
from service.database.schema import roles as table
from service.face.embedding.embed import Embedder
from service.gallery import template_coverage
from service.models import Models
from service.rollout.errors import (
    ChallengerMissing,
    ChampionUnavailable,
    CoverageMissing,
    NothingToRollBack,
    RolesInvalid,
)
from service.rollout.wishes import last_wish, require_wanted

FRESH_SECONDS = 1.0

Action = Literal["settings", "set", "promote", "rollback"]


@dataclass(frozen=True, slots=True)
class Assignment:
    """Roles since `at`, by digest. `sample` is the share of the champion's decisions that are kept and compared.

    `row` is 0 for what the settings say; `previous` is the row that a rollback goes back to.
    """

    row: int
    at: datetime | None
    principal: str
    action: Action
    champion: str
    challenger: str | None
    sample: float
    previous: int | None


class Roles:
    """The roles of one service. Safe to call from many threads at once."""

    def __init__(self, models: Models, database: Database[Any], clock: Callable[[], float] = time.monotonic) -> None:
        """Begin with what the settings say; `clock` says when to read again."""
        self._models = models
        self._database = database
        self._clock = clock
        self._lock = threading.Lock()
        self._start = Assignment(0, None, "", "settings", models.default.digest, None, 0.0, None)
        self._kept = self._start
        self._fresh_until = float("-inf")
        self._failures = 0
        """How often reading the database failed, the last time with `_failure`; None where it went well since."""
        self._failure: StorageError | None = None

    def current(self) -> Assignment:
        """The roles that hold now.

        Whoever asks while another one waits for the database gets the same answer, or the same failure: each in turn
        would wait for a database that hangs.

        Raises:
            StorageError: The database cannot be used.
        """
        failures = self._failures
        if self._clock() < self._fresh_until:
            return self._kept
        with self._lock:
            if self._clock() < self._fresh_until:
                return self._kept
            if self._failures != failures and self._failure is not None:
                raise self._failure
            try:
                self._kept = self._database.read(self.held)
            except StorageError as error:
                self._failures, self._failure = self._failures + 1, error
                raise
            self._failure = None
            self._fresh_until = self._clock() + FRESH_SECONDS
            return self._kept

    def is_fresh(self) -> bool:
        """Whether `current` answers without asking the database."""
        return self._clock() < self._fresh_until

    def held(self, connection: sa.Connection) -> Assignment:
        """The roles as an open transaction sees them."""
        return last_assignment(connection) or self._start

    def champion(self) -> Embedder:
        """The model that answers where a request names none.

        Raises:
            ChampionUnavailable: The champion is not loaded.
            StorageError: The database cannot be used.
        """
        digest = self.current().champion
        embedder = self._models.by_digest(digest)
        if embedder is None:
            raise ChampionUnavailable(
                f"the champion, {self.name_of(digest)}, is not loaded: load it again "
                "(FACET_MODELS, FACET_MODEL_DIRS), or make another model the champion with PUT /v1/roles"
            )
        return embedder

    def challenger(self) -> Embedder | None:
        """The model tried beside the champion, None without one or while it is not loaded.

        Raises:
            StorageError: The database cannot be used.
        """
        digest = self.current().challenger
        return None if digest is None else self._models.by_digest(digest)

    def name_of(self, digest: str) -> str:
        """`name@version` of a model, or the beginning of its digest where this process does not know it."""
        known = self._models.known.get(digest)
        return known.identity if known else digest[:12]

    def assign(self, principal: str, champion: str, challenger: str | None, sample: float) -> Assignment:
        """Set both roles by the models' names.

        Raises:
            ModelNotFound: Not loaded, or the challenger is being unloaded.
            RolesInvalid: A model cannot be its own challenger.
            CoverageMissing: Somebody enrolled would be out of the champion's reach.
            StorageError: The database cannot be used.
        """
        first = self._models.embedder(champion).digest
        second = None if challenger is None else self._models.embedder(challenger).digest
        if first == second:
            raise RolesInvalid(f"{champion} cannot be its own challenger: name another model, or none")

        def set_both(connection: sa.Connection, last: Assignment) -> tuple[str, str | None, float, int | None]:
            if second is not None:
                require_wanted(connection, self._models.known[second])
            return first, second, sample, _previous(last, first)

        return self._write(principal, "set", set_both)

    def promote(self, principal: str) -> Assignment:
        """Make the challenger champion and the champion its challenger.

        Raises:
            ChallengerMissing: There is no challenger.
            ChampionUnavailable: Not loaded.
            CoverageMissing: Somebody enrolled would be out of the champion's reach.
            StorageError: The database cannot be used.
        """

        def swap(_: sa.Connection, last: Assignment) -> tuple[str, str | None, float, int | None]:
            if last.challenger is None:
                raise ChallengerMissing
            return last.challenger, last.champion, last.sample, last.row

        return self._write(principal, "promote", swap)

    def rollback(self, principal: str) -> Assignment:
        """Go back to the roles before the champion last changed; called again, one change further back.

        Raises:
            NothingToRollBack: The champion has never changed.
            ChampionUnavailable: Not loaded.
            CoverageMissing: Somebody enrolled would be out of the champion's reach.
            StorageError: The database cannot be used.
        """

        def restore(connection: sa.Connection, last: Assignment) -> tuple[str, str | None, float, int | None]:
            if last.previous is None:
                raise NothingToRollBack
            before = self._at(connection, last.previous)
            return before.champion, before.challenger, before.sample, before.previous

        return self._write(principal, "rollback", restore)

    def history(self, cursor: str | None = None, limit: int = 100) -> Page[Assignment]:
        """All assignments ever made, the newest first.

        Raises:
            CursorInvalid: The cursor was not made by this list.
            StorageError: The database cannot be used.
        """
        return paging.newest_first(self._database.engine, sa.select(*_COLUMNS), table.c.row, Assignment, cursor, limit)

    def _write(
        self,
        principal: str,
        action: Action,
        change: Callable[[sa.Connection, Assignment], tuple[str, str | None, float, int | None]],
    ) -> Assignment:
        """One transaction in the one writer: read what holds, check the new champion, append."""

        def work(connection: sa.Connection) -> Assignment:
            last = self.held(connection)
            champion, challenger, sample, previous = change(connection, last)
            if champion != last.champion:
                self._check(connection, champion)
            if previous == 0:  # the settings may say something else by the time of a rollback
                _insert(connection, "", last.action, last.champion, last.challenger, last.sample, None)
                previous = self.held(connection).row
            _insert(connection, principal, action, champion, challenger, sample, previous)
            return self.held(connection)

        assignment = self._database.write(work)
        with self._lock:
            self._kept = assignment
            self._fresh_until = self._clock() + FRESH_SECONDS
        return assignment

    def _check(self, connection: sa.Connection, champion: str) -> None:
        """Everybody enrolled must be within the new champion's reach."""
        embedder = self._models.by_digest(champion)
        if embedder is None:
            raise ChampionUnavailable("the model that is to be champion is not loaded: load it first")
        if (wish := last_wish(connection, champion)) is not None and not wish.loaded:
            raise ChampionUnavailable(f"{embedder.manifest.identity} is being unloaded: load it again first")
        if missing := template_coverage.shortfalls(connection, self._models.same_space(embedder.manifest)):
            raise CoverageMissing(embedder.manifest.identity, missing)

    def _at(self, connection: sa.Connection, row: int) -> Assignment:
        if row == 0:
            return self._start
        return Assignment(*connection.execute(sa.select(*_COLUMNS).where(table.c.row == row)).one())


def last_assignment(connection: sa.Connection) -> Assignment | None:
    """The roles that hold by the database; None when nobody has set any."""
    row = connection.execute(sa.select(*_COLUMNS).order_by(table.c.row.desc()).limit(1)).one_or_none()
    return None if row is None else Assignment(*row)


def _insert(
    connection: sa.Connection,
    principal: str,
    action: Action,
    champion: str,
    challenger: str | None,
    sample: float,
    previous: int | None,
) -> None:
    values = {"champion": champion, "challenger": challenger, "sample": sample, "previous": previous}
    connection.execute(sa.insert(table).values(at=now(), principal=principal, action=action, **values))


def _previous(last: Assignment, champion: str) -> int | None:
    """Where a rollback goes: only a change of the champion moves it."""
    return last.previous if last.champion == champion else last.row


_COLUMNS = [table.c[name] for name in Assignment.__dataclass_fields__]
