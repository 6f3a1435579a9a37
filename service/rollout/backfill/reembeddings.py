"""What an operator asks for: make a model's templates, see how far it reaches, drop those no longer needed."""

from __future__ import annotations

import threading
from collections.abc import Collection, Sequence
from functools import partial

import sqlalchemy as sa

from service.database.base import Database
from service.database.paging import Page
from service.database.transaction import Transaction
from service.face.manifest import Manifest
from service.gallery import template_coverage
from service.gallery.changes import template_update
from service.gallery.changes.erasure import write_receipt
from service.gallery.records import Receipt
from service.gallery.template_coverage import Coverage
from service.index.changes import IndexChange
from service.models import Models
from service.rollout.backfill.errors import TemplatesNeeded
from service.rollout.backfill.jobs import CANCELLED, Job, end_job, find_job, latest_jobs, list_jobs, start_job
from service.rollout.errors import CoverageMissing
from service.rollout.roles import Roles
from service.rollout.wishes import require_wanted

DROPPED_AT_ONCE = 2000
"""Templates in one transaction: other changes wait no longer than these take."""


class Reembeddings:
    """Jobs, coverage and dropping for one database. Safe to call from many threads at once."""

    def __init__(self, models: Models, database: Database[IndexChange], roles: Roles) -> None:
        """Work on the jobs of `database`; `roles` says which templates must stay."""
        self._models, self._database, self._roles = models, database, roles
        self._dropping = threading.Lock()  # two models that each count on the other's templates

    def start(self, principal: str, model: str, collection: str | None, rate: float) -> Job:
        """Begin to make templates of a loaded model from kept crops, in the background.

        Raises:
            ModelNotFound: Not loaded, or being unloaded.
            CollectionNotFound: There is no collection of that name.
            ReembeddingRunning: A job of this model runs there.
            StorageError: The database cannot be used.
        """
        manifest = self._models.embedder(model).manifest

        def begin(connection: sa.Connection) -> Job:
            require_wanted(connection, manifest)
            return start_job(connection, principal, manifest.sha256, collection, rate)

        return self._database.write(begin)

    def cancel(self, job_id: str) -> Job:
        """End a job; the templates it made stay.

        Raises:
            ReembeddingNotFound: There is no job of that id.
            ReembeddingEnded: The job has ended already.
            StorageError: The database cannot be used.
        """
        return self._database.write(lambda connection: end_job(connection, job_id, CANCELLED))

    def job(self, job_id: str) -> Job:
        """One job.

        Raises:
            ReembeddingNotFound: There is no job of that id.
            StorageError: The database cannot be used.
        """
        return self._database.read(lambda connection: find_job(connection, job_id))

    def jobs(self, cursor: str | None = None, limit: int = 100, reachable: frozenset[str] | None = None) -> Page[Job]:
        """Jobs, newest first: all, or those of the collections named.

        Raises:
            CursorInvalid: The cursor was not made by this list.
            StorageError: The database cannot be used.
        """
        return list_jobs(self._database.engine, cursor, limit, reachable)

    def latest(self) -> list[Job]:
        """The newest job of each model and collection.

        Raises:
            StorageError: The database cannot be used.
        """
        return self._database.read(latest_jobs)

    def coverage(self, model: Manifest, reachable: Collection[str] | None = None) -> list[Coverage]:
        """How far a model reaches, in the collections named or in all.

        Raises:
            StorageError: The database cannot be used.
        """
        names = None if reachable is None else sorted(reachable)
        space = self._models.same_space(model)
        return self._database.read(lambda connection: template_coverage.cover(connection, model.sha256, space, names))

    def drop(self, digest: str, collection: str | None) -> Receipt:
        """Remove all templates of a model from a collection, or from all. Nobody's face is removed.

        Refused while the champion searches them: templates of its own, or those by which alone it reaches somebody.
        When the champion changes in the middle, or another process drops templates on which it counts, the rest stays.

        Raises:
            TemplatesNeeded: The champion searches these templates.
            CoverageMissing: Somebody enrolled would be out of the champion's reach.
            CollectionNotFound: There is no collection of that name.
            StorageError: The database cannot be used.
        """
        checked: str | None = None

        def drop_some(transaction: Transaction[IndexChange]) -> int:
            nonlocal checked
            champion = self._roles.held(transaction.connection).champion
            others = self._others(champion, digest)
            if champion != checked:
                self._check(transaction.connection, champion, others, digest, collection)
                checked = champion
            removed = template_update.drop_some(transaction, digest, collection, DROPPED_AT_ONCE, others)
            if not removed:
                self._check(transaction.connection, champion, others, digest, collection)
            return removed

        with self._dropping:
            removed = sum(iter(lambda: self._database.change_alone(drop_some), 0))
            return self._database.change_alone(
                partial(write_receipt, kind="model", target=digest, lost=0, removed=removed, collection=collection)
            )

    def _others(self, champion: str, digest: str) -> list[str]:
        """Models by which the champion reaches people without this one. Raises: TemplatesNeeded."""
        manifest = self._models.known.get(champion)
        if manifest is None:
            raise TemplatesNeeded("the champion is not known here, so nobody can tell which templates it searches")
        if champion == digest:
            raise TemplatesNeeded(f"{manifest.identity} is the champion and searches these templates")
        return [other for other in self._models.same_space(manifest) if other != digest]

    def _check(
        self, connection: sa.Connection, champion: str, others: Sequence[str], digest: str, collection: str | None
    ) -> None:
        """Raises: CoverageMissing."""
        if missing := template_coverage.shortfalls(connection, others, of=digest, collection=collection):
            raise CoverageMissing(self._models.known[champion].identity, missing)
