"""Which models every process is to load or to unload: rows of the database, of which each model's last one holds."""

from __future__ import annotations

from dataclasses import dataclass

import sqlalchemy as sa

from service.database.schema import model_wishes as table
from service.database.schema import now
from service.face.errors import ModelNotFound
from service.face.manifest import Manifest


@dataclass(frozen=True, slots=True)
class Wish:
    """That a model, by digest and `name@version`, is to be loaded, or is not."""

    row: int
    model: str
    name: str
    loaded: bool


def write_wish(connection: sa.Connection, principal: str, manifest: Manifest, *, loaded: bool) -> None:
    """Wish a model loaded or unloaded from here on, unless that is the wish already."""
    last = last_wish(connection, manifest.sha256)
    if last is None or last.loaded != loaded:
        values = {"model": manifest.sha256, "name": manifest.identity, "loaded": loaded}
        connection.execute(sa.insert(table).values(at=now(), principal=principal, **values))


def require_wanted(connection: sa.Connection, manifest: Manifest) -> None:
    """Check that nobody has wished a model unloaded, which this process may still have.

    Raises:
        ModelNotFound: Somebody has.
    """
    if (wish := last_wish(connection, manifest.sha256)) is not None and not wish.loaded:
        raise ModelNotFound(f"{manifest.identity} is being unloaded: load it again first")


def last_wish(connection: sa.Connection, model: str) -> Wish | None:
    """What is wished of a model; None where only the settings say."""
    return next((wish for wish in last_wishes(connection) if wish.model == model), None)


def last_wishes(connection: sa.Connection) -> list[Wish]:
    """The wish of each model that has one, in the order in which they were made."""
    newest = sa.select(sa.func.max(table.c.row)).group_by(table.c.model)
    query = sa.select(table.c.row, table.c.model, table.c.name, table.c.loaded).where(table.c.row.in_(newest))
    return [Wish(*row) for row in connection.execute(query.order_by(table.c.row))]
