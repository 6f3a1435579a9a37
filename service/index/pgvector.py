"""Search inside PostgreSQL: pgvector beside the record, in the same transaction, exact.

Each model has a table of half-precision vectors of its dimension. A vector leaves with its template, whoever erases
it: the table refers to the templates. A search reads every vector of a collection, with the server's parallel scan, and
puts the closest in order by the values of the record, so its scores are those of any other index.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Iterator, Sequence
from itertools import groupby

import numpy as np
import sqlalchemy as sa
from numpy.typing import NDArray

from service.database.encryption import Keyring
from service.database.schema import models
from service.database.sqlite import serialise
from service.database.timeouts import unhurried
from service.gallery import queries
from service.gallery.errors import StorageUnavailable
from service.gallery.queries import Place
from service.gallery.records import Backlog, Loaded, Vector
from service.gallery.store import Store
from service.index import candidates
from service.index.base import Found, Matrix, Rows
from service.index.changes import Added, Effect
from service.index.counts import Counts
from service.index.embedded.manager import stored

log = logging.getLogger(__name__)
CHUNK = 10_000
INLINE = 1_900
"""Dimensions up to which a vector fits a page; a larger one would be stored out of line, and not be scanned."""


class PgvectorIndexes:
    """`Indexes` in the record's own database."""

    def __init__(self, store: Store) -> None:
        """Make the tables that are missing and fill in what they lack.

        Raises:
            StorageUnavailable: the server has no pgvector.
        """
        self.keyring = Keyring.empty()
        self.models: dict[str, tuple[int, int]] = {}
        self._tables: set[int] = set()
        self._counts = Counts()
        started = time.perf_counter()
        store.change(lambda turn: _require(turn.connection))
        added = store.change(lambda turn: self._complete(turn.connection))
        self.loaded = Loaded(store.read(queries.count_templates), 0, added, (), time.perf_counter() - started)

    @property
    def backlog(self) -> Backlog:
        """Nothing: the vectors are committed with the record."""
        return Backlog(0, 0.0)

    def stage(self, connection: sa.Connection, effects: Sequence[Effect]) -> None:
        """Put new templates into their tables; what was removed has left them already."""
        added = [effect for effect in effects if isinstance(effect, Added)]
        for model, run in groupby(sorted(added, key=lambda effect: effect.model), lambda effect: effect.model):
            batch = list(run)
            self._provide(connection, model, len(batch[0].vector))
            connection.execute(_insert(model), [_values(one) for one in batch])

    def search(self, connection: sa.Connection, place: Place, probes: Matrix, k: int) -> list[Found]:
        """Exact: the closest are read until `k` subjects are among them, or all is read."""
        if not self._has_table(connection, place[1]):
            return [Found.nothing() for _ in probes]
        return [_search(connection, place, probe, k) for probe in probes]

    def count(self, connection: sa.Connection, place: Place) -> int:
        """Templates of a collection and model."""
        return self._counts.of(connection, place)

    def sizes(self, connection: sa.Connection) -> dict[Place, tuple[int, int]]:
        """Templates, and their share of the bytes of the model's table."""
        found = {place: total for place, _, _, _, total in queries.places(connection)}
        bytes_of: dict[int, float] = {}
        for model in {place[1] for place in found}:
            asked = sa.text("SELECT pg_total_relation_size(to_regclass(:name))")
            size = int(connection.scalar(asked, {"name": _name(model)}) or 0)
            bytes_of[model] = size / sum(total for place, total in found.items() if place[1] == model)
        return {place: (total, round(total * bytes_of[place[1]])) for place, total in found.items()}

    def places(self, connection: sa.Connection) -> list[Place]:
        """Where a table holds anything."""
        known = [int(row) for row in connection.scalars(sa.select(models.c.row))]
        return [
            (int(collection), model)
            for model in known
            if self._has_table(connection, model)
            for collection in connection.scalars(sa.text(f"SELECT DISTINCT collection_row FROM {_name(model)}"))  # noqa: S608
        ]

    def entries(self, connection: sa.Connection, place: Place) -> Iterator[tuple[Rows, Rows, Matrix]]:
        """All vectors of a collection and model, in the order of their rows."""
        asked = sa.text(
            f"SELECT row, subject_row, vector::text FROM {_name(place[1])} "  # noqa: S608 - a number of our own
            "WHERE collection_row = :collection AND row > :after ORDER BY row LIMIT :some"
        )
        after = 0
        while found := connection.execute(asked, {"collection": place[0], "after": after, "some": CHUNK}).all():
            matrix = np.array([np.fromstring(text[1:-1], np.float32, sep=",") for _, _, text in found])
            yield np.array([e[0] for e in found], np.int64), np.array([e[1] for e in found], np.int64), matrix
            after = found[-1][0]

    def check(self) -> None:
        """It answers when the record does."""

    def settle(self, *, thorough: bool = False) -> None:
        """Nothing gathers."""

    def reseal(self) -> None:
        """Nothing is sealed."""

    def close(self) -> None:
        """Nothing runs in the background."""

    def _complete(self, connection: sa.Connection) -> int:
        """Add what the record has and the tables lack; returns how many vectors that were."""
        with unhurried(connection):
            serialise(connection, "pgvector")
            return sum(self._fill(connection, place, dim) for place, _, _, dim, _ in queries.places(connection))

    def _fill(self, connection: sa.Connection, place: Place, dim: int) -> int:
        added = 0
        self._provide(connection, place[1], dim)
        missing = sa.text(
            f"SELECT t.row FROM templates t LEFT JOIN {_name(place[1])} v ON v.row = t.row "  # noqa: S608
            "WHERE t.collection_row = :collection AND t.model_row = :model AND v.row IS NULL ORDER BY t.row"
        )
        asked = {"collection": place[0], "model": place[1]}
        rows = np.fromiter(connection.scalars(missing, asked), np.int64)
        for some, subjects, matrix in stored(connection, self.keyring, place, dim, rows):
            batch = zip(some.tolist(), subjects.tolist(), matrix, strict=True)
            connection.execute(
                _insert(place[1]),
                [_values(Added(place[0], place[1], row, subject, vector)) for row, subject, vector in batch],
            )
            added += len(some)
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
        if model in self._tables:
            return True
        there = connection.scalar(sa.text("SELECT to_regclass(:name) IS NOT NULL"), {"name": _name(model)})
        if there:  # asked before the table is made: whoever made it has committed
            self._tables.add(model)
        return bool(there)


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


def _search(connection: sa.Connection, place: Place, probe: Vector, k: int) -> Found:
    reach = 8 * k + 16
    while True:
        found = connection.execute(
            _nearest(place[1]), {"collection": place[0], "probe": _text(probe), "reach": reach}
        ).all()
        best = candidates.best(found, probe, k)
        if len(best.rows) == k or len(found) < reach:
            return best
        reach *= 4


def _nearest(model: int) -> sa.TextClause:
    return sa.text(
        "SELECT n.row, n.subject_row, t.vector FROM ("  # noqa: S608
        f"SELECT row, subject_row FROM {_name(model)} WHERE collection_row = :collection "
        "ORDER BY vector <#> CAST(:probe AS halfvec) LIMIT :reach"
        ") AS n JOIN templates AS t ON t.row = n.row"
    )


def _insert(model: int) -> sa.TextClause:
    return sa.text(
        f"INSERT INTO {_name(model)} (row, collection_row, subject_row, vector) "  # noqa: S608
        "VALUES (:row, :collection_row, :subject_row, CAST(:vector AS halfvec))"
    )


def _values(effect: Added) -> dict[str, object]:
    return {
        "row": effect.row,
        "collection_row": effect.collection,
        "subject_row": effect.subject,
        "vector": _text(effect.vector),
    }


def _text(vector: NDArray[np.float32]) -> str:
    return f"[{','.join(map(repr, vector.tolist()))}]"


def _name(model: int) -> str:
    return f"vectors_{model}"
