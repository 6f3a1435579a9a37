"""Search in Milvus: a copy of the database's vectors, spread over as many machines as it takes.

Milvus follows the database a moment later, and shows what it took a moment after that. So candidates are looked up in
the database before they are given back, which drops whatever was erased; and what Milvus may not show yet is searched
in the outbox beside it. Changes are delivered by one process at a time, in order, and may be delivered twice.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Sequence

import numpy as np
import sqlalchemy as sa

from service.database.base import Database
from service.database.errors import StorageBusy, StorageUnavailable
from service.database.schema import models
from service.index import candidates, source
from service.index.base import Backlog, CandidateList, Loaded, Matrix, Place, Rows
from service.index.changes import IndexChange
from service.index.counts import Counts
from service.index.milvus import outbox
from service.index.milvus.client import MilvusCopy, Server
from service.index.milvus.relay import OutboxRelay
from service.index.stored_templates import TemplateReader

MOST_WAITING = 20_000
"""Changes under way; with more, searches would spend their time on the outbox."""
MOST_CANDIDATES = 16_384
"""Milvus gives no more at once."""


class MilvusIndex:
    """A `VectorIndex` in a Milvus beside the database."""

    def __init__(
        self,
        database: Database[IndexChange],
        server: Server,
        observe: Callable[[str, float], None],
        reader: TemplateReader,
    ) -> None:
        """Connect; make collections that are missing and have them filled.

        Raises:
            StorageUnavailable: Milvus or its client is not there.
        """
        self.models: dict[str, tuple[int, int]] = {}
        self._counts = Counts()
        self._reader = reader
        started = time.perf_counter()
        self.copy = MilvusCopy(server, database.read(source.store_id))
        self.relay = OutboxRelay(database, self.copy, observe, reader)
        total = database.read(source.count_templates)
        self.loaded = Loaded(total, 0, self.backlog.changes, (), time.perf_counter() - started)

    @property
    def backlog(self) -> Backlog:
        """What Milvus has still to follow."""
        return self.relay.backlog

    def stage(self, connection: sa.Connection, changes: Sequence[IndexChange]) -> None:
        """Note what Milvus has to follow.

        Raises:
            StorageBusy: It is too far behind.
        """
        if self.backlog.changes > MOST_WAITING:
            raise StorageBusy(5.0)
        outbox.write(connection, changes)

    def search(self, connection: sa.Connection, place: Place, probes: Matrix, k: int) -> list[CandidateList]:
        """Search what Milvus shows and the database still has, and what is too fresh for it to show."""
        if (changes := self.backlog.changes) > MOST_WAITING:
            raise StorageUnavailable(f"Milvus has {changes} changes to follow: searches go on when it has.")
        has = self.copy.answers(place[1])
        fresh = outbox.fresh(connection, place)  # first: what leaves the outbox after this, Milvus shows already
        if not has:
            if outbox.has_left(connection, place[1], place[0]):
                raise StorageUnavailable("Milvus has not loaded the collection: searches go on when it has.")
            return [candidates.best(fresh, probe, k, self._reader) for probe in probes]
        results = [CandidateList.nothing()] * len(probes)
        waiting = list(range(len(probes)))
        reach = min(8 * k + 16, MOST_CANDIDATES)
        while waiting:
            near = self.copy.nearest(place, probes[waiting], reach)
            by_row = candidates.read(connection, sorted({row for rows in near for row in rows}))
            deeper = []
            for number, rows in zip(waiting, near, strict=True):
                living = {row: by_row[row] for row in rows if row in by_row} | {entry.row: entry for entry in fresh}
                results[number] = candidates.best(list(living.values()), probes[number], k, self._reader)
                if len(results[number].rows) < k and len(rows) == reach < MOST_CANDIDATES:
                    deeper.append(number)
            waiting = deeper
            reach = min(4 * reach, MOST_CANDIDATES)
        return results

    def leave_out(self, place: Place, rows: Sequence[int]) -> None:
        """Do nothing: a short list passes over what the reader found damaged."""

    def count(self, connection: sa.Connection, place: Place) -> int:
        """Count the templates of a collection and model."""
        return self._counts.of(connection, place)

    def sizes(self, connection: sa.Connection) -> dict[Place, tuple[int, int]]:
        """Return templates, and the bytes that their vectors take in Milvus."""
        return {place: (total, total * (4 * dim + 24)) for place, _, _, dim, total in source.places(connection)}

    def places(self, connection: sa.Connection) -> list[Place]:
        """Return where Milvus holds anything."""
        self.relay.catch_up()
        last = source.last_template_row(connection)
        return sorted(
            {
                (int(entry["collection_row"]), int(model))
                for model in connection.scalars(sa.select(models.c.row))
                if self.copy.answers(model)
                for entry in self.copy.all(model, last, "row > 0", ["collection_row"])
            }
        )

    def entries(self, connection: sa.Connection, place: Place) -> Iterator[tuple[Rows, Rows, Matrix]]:
        """Yield all that Milvus holds of a collection and model, after it has followed."""
        self.relay.catch_up()
        if not self.copy.answers(place[1]):
            return
        fields = ["row", "subject_row", "vector"]
        last = source.last_template_row(connection)
        entries = list(self.copy.all(place[1], last, f"collection_row == {place[0]}", fields))
        if entries:
            rows = np.array([entry["row"] for entry in entries], np.int64)
            groups = np.array([entry["subject_row"] for entry in entries], np.int64)
            yield rows, groups, np.array([entry["vector"] for entry in entries], np.float32)

    def check(self) -> None:
        """Check that Milvus answers and is not too far behind."""
        self.copy.check()
        if self.backlog.changes > MOST_WAITING:
            raise StorageUnavailable(f"Milvus has {self.backlog.changes} changes to follow.")

    def compact(self, *, thorough: bool = True) -> None:
        """Let Milvus follow everything now; thoroughly, also until searches rely on it alone."""
        self.relay.catch_up(thorough=thorough)

    def close(self) -> None:
        """Stop delivering; another process, or the next start, goes on."""
        self.relay.close()
        self.copy.close()
