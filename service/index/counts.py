"""How many templates a collection holds, without counting a million of them for every search."""

from __future__ import annotations

import threading
import time

import sqlalchemy as sa

from service.database.schema import templates
from service.index.base import Place

EXACT = 5_000
FRESH_SECONDS = 10.0

_FEW = sa.select(sa.func.count()).select_from(
    sa.select(templates.c.row)
    .where(
        templates.c.collection_row == sa.bindparam("collection"),
        templates.c.model_row == sa.bindparam("model"),
    )
    .limit(EXACT)
    .subquery()
)
_ALL = sa.select(sa.func.count()).where(
    templates.c.collection_row == sa.bindparam("collection"), templates.c.model_row == sa.bindparam("model")
)


class Counts:
    """Exact below 5,000; from there on at most ten seconds old, which no threshold notices."""

    def __init__(self) -> None:
        """Begin with no counts."""
        self._kept: dict[Place, tuple[float, int]] = {}
        self._lock = threading.Lock()

    def of(self, connection: sa.Connection, place: Place) -> int:
        """Count the templates of a collection and model."""
        with self._lock:
            until, last = self._kept.get(place, (0.0, 0))
        if time.monotonic() < until:
            return last
        values = {"collection": place[0], "model": place[1]}
        count = int(connection.scalar(_FEW, values) or 0)
        if count == EXACT:
            count = int(connection.scalar(_ALL, values) or 0)
            with self._lock:
                self._kept[place] = (time.monotonic() + FRESH_SECONDS, count)
        return count
