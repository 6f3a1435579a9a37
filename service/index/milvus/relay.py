"""Brings changes to Milvus, in order, one process at a time; a change may be delivered twice."""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable, Sequence
from itertools import groupby

import sqlalchemy as sa

from service.database.base import Database
from service.database.errors import StorageError
from service.database.schema import models, templates
from service.database.template_seal import STORED
from service.database.timeouts import without_timeouts
from service.database.transaction import serialise, storage_errors
from service.index import candidates, source
from service.index.base import Backlog
from service.index.changes import IndexChange
from service.index.milvus import outbox
from service.index.milvus.client import MilvusCopy
from service.index.milvus.outbox import Entry, Kind
from service.index.stored_templates import TemplateReader

log = logging.getLogger(__name__)
DELIVER_EVERY = 0.25
SHOWN_AFTER = 20.0
"""Seconds after which Milvus is asked whether it shows what it took: four times those by which `Bounded` may lag, so
that what one of its replicas shows, all do."""
DELIVERING = 0x6361727279
"""The lock of the process that delivers."""


class OutboxRelay:
    """One thread of each process; whichever comes first delivers, the others see that there is nothing to do."""

    def __init__(
        self,
        database: Database[IndexChange],
        copy: MilvusCopy,
        observe: Callable[[str, float], None],
        reader: TemplateReader,
    ) -> None:
        """Note what Milvus lacks altogether, and begin to deliver.

        Args:
            database: Holds the outbox.
            copy: Follows it.
            observe: Told how long it took to deliver some changes.
            reader: Opens what the database holds.

        Raises:
            StorageError: Milvus or the database does not answer.
        """
        self._database, self._copy, self._observe, self._reader = database, copy, observe, reader
        self._waiting = 0
        self._oldest: int | None = None
        self._oldest_since = 0.0
        self._closing = threading.Event()
        database.change(lambda transaction: self._complete(transaction.connection))
        self._thread = threading.Thread(target=self._run, name="gallery-outbox", daemon=True)
        self._thread.start()

    @property
    def backlog(self) -> Backlog:
        """As last counted; the age of the oldest change is since this process saw it first."""
        return Backlog(self._waiting, 0.0 if self._oldest is None else time.monotonic() - self._oldest_since)

    def close(self) -> None:
        """Stop delivering; another process, or the next start, goes on."""
        self._closing.set()
        self._thread.join()

    def catch_up(self, *, thorough: bool = False) -> None:
        """Deliver all there is; thoroughly, also until Milvus has compacted it and searches rely on it alone."""
        self.deliver()
        while self._database.read(outbox.waiting)[0]:
            time.sleep(DELIVER_EVERY / 5)  # another process may be at it
            self.deliver()
        if not thorough:
            return
        for model in self._database.read(lambda connection: connection.scalars(sa.select(models.c.row)).all()):
            if self._copy.exists(model):
                self._copy.compact(model)
        while self._database.read(outbox.holds):
            time.sleep(DELIVER_EVERY)
            self.deliver()

    def deliver(self) -> bool:
        """Let Milvus follow some changes; False when there are none, or another process is at it.

        Raises:
            StorageError: Milvus or the database does not answer; nothing is forgotten.
        """
        with storage_errors(), self._database.engine.connect() as connection, connection.begin():
            self._look(connection)
            if not connection.scalar(sa.text("SELECT pg_try_advisory_xact_lock(:key)"), {"key": DELIVERING}):
                return False
            connection.exec_driver_sql("SET LOCAL idle_in_transaction_session_timeout = 0")
            started = time.perf_counter()
            ripe = outbox.ripe(connection, SHOWN_AFTER)
            if ripe:
                self._let_go(connection, ripe)
            entries = outbox.take(connection)
            if self._begins_anew(connection, entries):
                return True
            for (kind, model), run in groupby(entries, lambda entry: (entry.kind, entry.model)):
                self._follow(connection, kind, model, list(run))
            outbox.confirm(connection, entries)
            if ripe or entries:
                self._observe("carry", time.perf_counter() - started)
            return bool(ripe or entries)

    def _begins_anew(self, connection: sa.Connection, entries: Sequence[Entry]) -> bool:
        """Whether Milvus lost a model's collection: then all of it is noted before a new one can answer from a part."""
        models_of = {entry.model for entry in entries if entry.kind is Kind.ADD and entry.model is not None}
        lost = [model for model in models_of if not self._copy.exists(model) and outbox.has_left(connection, model)]
        for model in lost:
            log.warning("Milvus has lost a collection: it is filled again")
            outbox.write_all(connection, model)
        return bool(lost)

    def _look(self, connection: sa.Connection) -> None:
        self._waiting, oldest = outbox.waiting(connection)
        if oldest != self._oldest:
            self._oldest, self._oldest_since = oldest, time.monotonic()

    def _let_go(self, connection: sa.Connection, ripe: Sequence[Entry]) -> None:
        """Rely on Milvus for what it was seen to show; deliver again what it took and does not show."""
        living = candidates.living(connection, [entry.template for entry in ripe])
        lost: set[int] = set()
        for model in {entry.model for entry in ripe if entry.model is not None}:
            rows = living.intersection(entry.template for entry in ripe if entry.model == model)
            lost |= rows - self._copy.shown(model, rows)
        outbox.forget(connection, [entry for entry in ripe if entry.template not in lost])
        if lost:
            log.warning("Milvus does not show %d templates that it took: they are carried again", len(lost))
            outbox.repeat(connection, [entry for entry in ripe if entry.template in lost])

    def _follow(self, connection: sa.Connection, kind: Kind, model: int | None, run: list[Entry]) -> None:
        rows = [entry.template for entry in run if entry.template is not None]
        if kind is Kind.DROP or model is None:
            for entry in run:
                self._drop(connection, entry.collection)
        elif kind is Kind.ADD:
            self._add(connection, model, rows)
        elif self._copy.exists(model):
            self._copy.delete(model, rows)

    def _add(self, connection: sa.Connection, model: int, rows: list[int]) -> None:
        """Upsert what the database still has: delivered twice, it is there once."""
        query = sa.select(*STORED).where(templates.c.row.in_(rows)).order_by(templates.c.row)
        entries = connection.execute(query).all()
        dim = int(connection.scalar(sa.select(models.c.dim).where(models.c.row == model)) or 0)
        sound, matrix = self._reader.read(entries, dim)
        stored = [entry for entry, is_sound in zip(entries, sound.tolist(), strict=True) if is_sound]
        if not stored:
            return
        self._copy.provide(model, dim)
        data = [
            {
                "row": entry.row,
                "collection_row": entry.collection_row,
                "subject_row": entry.subject_row,
                "vector": vector,
            }
            for entry, vector in zip(stored, matrix, strict=True)
        ]
        self._copy.upsert(model, data)

    def _drop(self, connection: sa.Connection, collection: int) -> None:
        last = source.last_template_row(connection)
        for model in connection.scalars(sa.select(models.c.row)):
            if self._copy.exists(model):
                entries = self._copy.all(model, last, f"collection_row == {collection}", ["row"])
                rows = [int(entry["row"]) for entry in entries]
                for start in range(0, len(rows), outbox.SOME):
                    self._copy.delete(model, rows[start : start + outbox.SOME])

    def _complete(self, connection: sa.Connection) -> None:
        """Have every model's collection filled that Milvus does not know."""
        with without_timeouts(connection):
            serialise(connection, "milvus")
            for model in {place[1] for place, *_ in source.places(connection)}:
                if not self._copy.exists(model):
                    outbox.write_all(connection, model)
        self._look(connection)

    def _run(self) -> None:
        pause = DELIVER_EVERY
        while not self._closing.wait(pause):
            try:
                while self.deliver() and not self._closing.is_set():
                    pass
                pause = DELIVER_EVERY
            except StorageError as error:
                log.warning("changes wait for Milvus: %s", error)
                pause = min(10.0, 2 * pause)
            except Exception:  # the thread must not end: changes would gather unnoticed
                log.exception("carrying changes to Milvus failed")
                pause = 10.0
