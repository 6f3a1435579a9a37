"""Search inside PostgreSQL: pgvector beside the templates, in the same transaction, exact.

Each model has a table of half-precision vectors of its dimension. A vector leaves with its template, whoever erases
it: the table refers to the templates. A search reads every vector of a collection, with the server's parallel scan, and
puts the closest in order by their stored values, so its scores are those of any other index.
"""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from functools import cache
from itertools import groupby
from typing import Any

import numpy as np
import sqlalchemy as sa
from pgvector import HalfVector
from pgvector.psycopg import register_vector
from pgvector.sqlalchemy import HALFVEC

from service.database.base import Database
from service.database.errors import StorageUnavailable
from service.database.schema import models, templates
from service.database.template_seal import STORED
from service.database.timeouts import without_timeouts
from service.database.transaction import serialise
from service.index import candidates, source
from service.index.base import Backlog, CandidateList, Loaded, Matrix, Place, Rows, Vector
from service.index.changes import Added, IndexChange
from service.index.counts import Counts
from service.index.stored_templates import TemplateReader

CHUNK = 10_000
INLINE = 1_900
"""Dimensions up to which a vector fits a page; a larger one would be stored out of line, and not be scanned."""


class PgvectorIndex:
    """A `VectorIndex` in the database's own tables."""

    def __init__(self, database: Database[IndexChange], reader: TemplateReader) -> None:
        """Make the tables that are missing and fill in what they lack; `reader` opens what the database holds.

        Raises:
            StorageUnavailable: The server has no pgvector.
        """
        self.models: dict[str, tuple[int, int]] = {}
        self._reader = reader
        self._present: set[int] = set()
        self._counts = Counts()
        started = time.perf_counter()
        database.change(lambda transaction: _require(transaction.connection))
        sa.event.listen(database.engine, "connect", lambda connection, _: register_vector(connection))
        database.engine.dispose()  # connections from before do not know the vectors' binary form
        added = database.change(lambda transaction: self._complete(transaction.connection))
        seconds = time.perf_counter() - started
        self.loaded = Loaded(database.read(source.count_templates), 0, added, (), seconds)

    @property
    def backlog(self) -> Backlog:
        """Nothing: the vectors are committed with their templates."""
        return Backlog(0, 0.0)

    def stage(self, connection: sa.Connection, changes: Sequence[IndexChange]) -> None:
        """Put new templates into their tables; what was removed has left them already."""
        added = [change for change in changes if isinstance(change, Added)]
        for model, run in groupby(sorted(added, key=lambda change: change.model), lambda change: change.model):
            batch = list(run)
            self._provide(connection, model, len(batch[0].vector))
            connection.execute(sa.insert(_table(model)), [_values(change) for change in batch])

    def search(self, connection: sa.Connection, place: Place, probes: Matrix, k: int) -> list[CandidateList]:
        """Search exactly: the closest are read until `k` subjects are among them, or all is read."""
        if not self._has_table(connection, place[1]):
            return [CandidateList.nothing() for _ in probes]
        return [_search(connection, place, probe, k, self._reader) for probe in probes]

    def leave_out(self, place: Place, rows: Sequence[int]) -> None:
        """Do nothing: a short list passes over what the reader found damaged."""

    def count(self, connection: sa.Connection, place: Place) -> int:
        """Count the templates of a collection and model."""
        return self._counts.of(connection, place)

    def sizes(self, connection: sa.Connection) -> dict[Place, tuple[int, int]]:
        """Return templates, and their share of the bytes of the model's table."""
        totals = {place: total for place, _, _, _, total in source.places(connection)}
        bytes_of: dict[int, float] = {}
        for model in {place[1] for place in totals}:
            size = int(connection.scalar(_SIZE, {"name": _name(model)}) or 0)
            bytes_of[model] = size / sum(total for place, total in totals.items() if place[1] == model)
        return {place: (total, round(total * bytes_of[place[1]])) for place, total in totals.items()}

    def places(self, connection: sa.Connection) -> list[Place]:
        """Return where a table holds anything."""
        known = [int(row) for row in connection.scalars(sa.select(models.c.row))]
        return [
            (int(collection), model)
            for model in known
            if self._has_table(connection, model)
            for collection in connection.scalars(sa.select(_table(model).c.collection_row).distinct())
        ]

    def entries(self, connection: sa.Connection, place: Place) -> Iterator[tuple[Rows, Rows, Matrix]]:
        """Yield all vectors of a collection and model, in the order of their rows."""
        table = _table(place[1])
        binary = sa.func.halfvec_send(table.c.vector, type_=sa.LargeBinary)
        query = sa.select(table.c.row, table.c.subject_row, binary).where(table.c.collection_row == place[0])
        after = 0
        while part := connection.execute(query.where(table.c.row > after).order_by(table.c.row).limit(CHUNK)).all():
            rows, groups, values = zip(*part, strict=True)
            matrix = np.stack([HalfVector.from_binary(value).to_numpy() for value in values]).astype(np.float32)
            yield np.array(rows, np.int64), np.array(groups, np.int64), matrix
            after = rows[-1]

    def check(self) -> None:
        """Check nothing: it answers when the database does."""

    def close(self) -> None:
        """Do nothing: nothing runs in the background."""

    def _complete(self, connection: sa.Connection) -> int:
        """Add what the tables lack; returns how many vectors that were."""
        with without_timeouts(connection):
            serialise(connection, "pgvector")
            return sum(self._fill(connection, place, dim) for place, _, _, dim, _ in source.places(connection))

    def _fill(self, connection: sa.Connection, place: Place, dim: int) -> int:
        added = 0
        self._provide(connection, place[1], dim)
        table = _table(place[1])
        missing = (
            sa.select(templates.c.row)
            .outerjoin(table, table.c.row == templates.c.row)
            .where(templates.c.collection_row == place[0], templates.c.model_row == place[1], table.c.row.is_(None))
            .order_by(templates.c.row)
        )
        rows = np.fromiter(connection.scalars(missing), np.int64)
        for part, subjects, matrix in source.read_templates(connection, self._reader, place, dim, rows):
            batch = zip(part.tolist(), subjects.tolist(), matrix, strict=True)
            connection.execute(
                sa.insert(table),
                [_values(Added(place[0], place[1], row, subject, vector)) for row, subject, vector in batch],
            )
            added += len(part)
        return added

    def _provide(self, connection: sa.Connection, model: int, dim: int) -> None:
        """Make a model's table, if it is not there."""
        if self._has_table(connection, model):
            return
        name = _name(model)
        storage = "PLAIN" if dim <= INLINE else "EXTERNAL"
        connection.exec_driver_sql(
            f"CREATE TABLE {name} (row bigint PRIMARY KEY REFERENCES templates ON DELETE CASCADE,"
            f" collection_row bigint NOT NULL, subject_row bigint NOT NULL,"
            f" vector halfvec({dim}) STORAGE {storage} NOT NULL)"
        )
        connection.exec_driver_sql(f"CREATE INDEX ix_{name}_collection_row ON {name} (collection_row)")
        connection.exec_driver_sql(f"ALTER TABLE {name} SET (parallel_workers = 4)")

    def _has_table(self, connection: sa.Connection, model: int) -> bool:
        if model in self._present:
            return True
        there = connection.scalar(_EXISTS, {"name": _name(model)})
        if there:  # looked for before the table is made: whoever made it has committed
            self._present.add(model)
        return bool(there)


class _HalfVector(HALFVEC):
    """pgvector's column type, sent in its binary form; the package's own sends text."""

    cache_ok = True

    def bind_processor(self, dialect: sa.Dialect) -> Any:
        """Leave the conversion to psycopg, which knows both forms."""
        return HalfVector


_EXISTS = sa.text("SELECT to_regclass(:name) IS NOT NULL")
_SIZE = sa.text("SELECT pg_total_relation_size(to_regclass(:name))")


def _require(connection: sa.Connection) -> None:
    there = connection.scalar(sa.text("SELECT extversion FROM pg_extension WHERE extname = 'vector'"))
    if there is None:
        serialise(connection, "pgvector")
        try:
            connection.exec_driver_sql("CREATE EXTENSION IF NOT EXISTS vector")
        except sa.exc.DBAPIError as error:
            raise StorageUnavailable(
                "The database has no pgvector: install it on the server (0.7 or newer) and let a superuser run "
                "CREATE EXTENSION vector in this database."
            ) from error


def _search(connection: sa.Connection, place: Place, probe: Vector, k: int, reader: TemplateReader) -> CandidateList:
    reach = 8 * k + 16
    while True:
        values = {"collection": place[0], "probe": probe, "reach": reach}
        nearest = connection.execute(_nearest(place[1]), values).all()
        best = candidates.best(nearest, probe, k, reader)
        if len(best.rows) == k or len(nearest) < reach:
            return best
        reach *= 4


@cache
def _nearest(model: int) -> sa.Select[Any]:
    """The closest vectors of a collection, with the templates they stand for. Made once: every search asks it."""
    table = _table(model)
    near = (
        sa.select(table.c.row)
        .where(table.c.collection_row == sa.bindparam("collection"))
        .order_by(table.c.vector.max_inner_product(sa.bindparam("probe", type_=_HalfVector())))
        .limit(sa.bindparam("reach"))
        .subquery("near")
    )
    return sa.select(*STORED).select_from(near).join(templates, templates.c.row == near.c.row)


@cache
def _table(model: int) -> sa.Table:
    """The table of a model's vectors."""
    return sa.Table(
        _name(model),
        sa.MetaData(),
        sa.Column("row", sa.BigInteger, primary_key=True, autoincrement=False),
        sa.Column("collection_row", sa.BigInteger),
        sa.Column("subject_row", sa.BigInteger),
        sa.Column("vector", _HalfVector()),
    )


def _values(change: Added) -> dict[str, object]:
    return {
        "row": change.row,
        "collection_row": change.collection,
        "subject_row": change.subject,
        "vector": change.vector,
    }


def _name(model: int) -> str:
    return f"vectors_{model}"
