"""Jobs that make a model's templates from kept crops, in the database: started, advanced, cancelled, read.

What is left to do is never written down: it is the faces above `reached` that have a crop and no template. A job
advances in the transaction that adds its templates, so a kill at any instant loses no more than the faces at hand.

One process at a time works on a job. It claims the job for a while and claims it again as it goes on; where it dies or
stands still, another takes over when that while has passed, and what the first may bring later is not taken. Clocks
that differ between machines move that moment and nothing else.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any, Final, Literal

import sqlalchemy as sa

from service.database import paging
from service.database.encryption import Keyring
from service.database.paging import Page
from service.database.schema import new_id, now
from service.database.schema import reembeddings as table
from service.database.transaction import Transaction
from service.gallery.changes import template_update
from service.index.base import Vector
from service.index.changes import IndexChange
from service.rollout.backfill.errors import ReembeddingEnded, ReembeddingNotFound, ReembeddingRunning

State = Literal["running", "done", "cancelled"]
RUNNING: Final = "running"
DONE: Final = "done"
CANCELLED: Final = "cancelled"


@dataclass(frozen=True, slots=True)
class Job:
    """Make templates of `model` (a digest) for the faces of a collection, or of all (None).

    Of `total` faces that had a crop and no template at the start, `made` got one and `failed` have a crop that cannot
    be used. `rate` is the most faces a second.
    """

    row: int
    id: str
    at: datetime
    principal: str
    model: str
    collection: str | None
    rate: float
    state: State
    reached: int
    total: int
    made: int
    failed: int
    ended_at: datetime | None
    holder: str | None
    """The process that works on it, until `held_until` has passed."""
    held_until: datetime | None

    @property
    def left(self) -> int:
        """Faces still to be looked at."""
        return max(0, self.total - self.made - self.failed) if self.state == RUNNING else 0


def start_job(connection: sa.Connection, principal: str, model: str, collection: str | None, rate: float) -> Job:
    """A new job, in a transaction that writes.

    Raises:
        ReembeddingRunning: One of this model runs there.
        CollectionNotFound: There is no collection of that name.
    """
    for job in running_jobs(connection):
        if job.model == model and (None in (job.collection, collection) or job.collection == collection):
            raise ReembeddingRunning(f"job {job.id} makes templates of this model there: wait for it or cancel it")
    values = {
        "id": new_id(),
        "at": now(),
        "principal": principal,
        "model": model,
        "collection": collection,
        "rate": rate,
        "state": RUNNING,
        "reached": 0,
        "total": template_update.count_crops_without(connection, model, collection),
        "made": 0,
        "failed": 0,
    }
    connection.execute(sa.insert(table).values(**values))
    return find_job(connection, str(values["id"]))


def claim_job(connection: sa.Connection, job_id: str, holder: str, lease: timedelta) -> Job | None:
    """Work on a running job for so long from now; None when it has ended, or is another's for the moment.

    In a transaction that writes; until its end nobody else can claim the job.
    """
    free = table.c.holder.is_(None) | (table.c.held_until < now())
    claimed = _hold(connection, job_id, holder, lease, free | (table.c.holder == holder))
    return find_job(connection, job_id) if claimed else None


def release_jobs(connection: sa.Connection, holder: str) -> None:
    """Leave one's jobs to others at once."""
    connection.execute(sa.update(table).where(table.c.holder == holder).values(holder=None, held_until=None))


def advance_job(
    transaction: Transaction[IndexChange],
    keyring: Keyring,
    job: Job,
    new_templates: Mapping[int, Vector],
    reached: int,
    failed: int,
    lease: timedelta,
) -> Job | None:
    """Add templates by the faces' rows and note how far the job came, at once or not at all.

    The job stays its holder's for so long from now. Where it has ended or is another's by now, nothing is added.

    Raises:
        VectorInvalid: Not finite unit vectors of the model's dimension.
    """
    if job.holder is None or not _hold(transaction.connection, job.id, job.holder, lease, table.c.holder == job.holder):
        return None
    added = template_update.add_templates(transaction, keyring, job.model, new_templates)
    _update(
        transaction.connection,
        job.id,
        reached=reached,
        made=table.c.made + added,
        failed=table.c.failed + failed,
    )
    return find_job(transaction.connection, job.id)


def end_job(connection: sa.Connection, job_id: str, state: State) -> Job:
    """End a running job.

    Raises:
        ReembeddingNotFound: There is no job of that id.
        ReembeddingEnded: The job has ended already.
    """
    job = find_job(connection, job_id)
    if job.state != RUNNING:
        raise ReembeddingEnded(f"job {job_id} is {job.state} already")
    _update(connection, job_id, state=state, ended_at=now(), holder=None, held_until=None)
    return find_job(connection, job_id)


def find_job(connection: sa.Connection, job_id: str) -> Job:
    """One job.

    Raises:
        ReembeddingNotFound: There is no job of that id.
    """
    row = connection.execute(sa.select(*_COLUMNS).where(table.c.id == job_id)).one_or_none()
    if row is None:
        raise ReembeddingNotFound(job_id)
    return Job(*row)


def running_jobs(connection: sa.Connection) -> list[Job]:
    """Jobs that run, oldest first."""
    query = sa.select(*_COLUMNS).where(table.c.state == RUNNING).order_by(table.c.row)
    return [Job(*row) for row in connection.execute(query)]


def latest_jobs(connection: sa.Connection) -> list[Job]:
    """The newest job of each model and collection."""
    newest = sa.select(sa.func.max(table.c.row)).group_by(table.c.model, table.c.collection)
    return [Job(*row) for row in connection.execute(sa.select(*_COLUMNS).where(table.c.row.in_(newest)))]


def list_jobs(
    engine: sa.Engine, cursor: str | None = None, limit: int = 100, reachable: frozenset[str] | None = None
) -> Page[Job]:
    """Jobs, newest first, all or those of collections `reachable`; also beside a running service.

    Raises:
        CursorInvalid: The cursor was not made by this list.
        StorageError: The database cannot be used.
    """
    query = sa.select(*_COLUMNS)
    if reachable is not None:
        query = query.where(table.c.collection.in_(reachable))
    return paging.newest_first(engine, query, table.c.row, Job, cursor, limit)


def _hold(
    connection: sa.Connection, job_id: str, holder: str, lease: timedelta, allowed: sa.ColumnElement[bool]
) -> bool:
    mine = sa.update(table).where(table.c.id == job_id, table.c.state == RUNNING, allowed)
    values = {"holder": holder, "held_until": now() + lease}
    return connection.execute(mine.values(**values)).rowcount == 1


def _update(connection: sa.Connection, job_id: str, **values: Any) -> None:
    connection.execute(sa.update(table).where(table.c.id == job_id).values(**values))


_COLUMNS = [table.c[name] for name in Job.__dataclass_fields__]
