"""Names in Unicode's composed form, in which they are looked for from now on."""

from __future__ import annotations

import unicodedata

import sqlalchemy as sa
from alembic import op

revision = "0008"
down_revision = "0007"
branch_labels = None
depends_on = None

collections = sa.table("collections", sa.column("row"), sa.column("name"))
subjects = sa.table("subjects", sa.column("row"), sa.column("collection_row"), sa.column("name"))
keys = sa.table("keys", sa.column("id"), sa.column("collections", sa.JSON))


def upgrade() -> None:
    """Compose names; of two that become one, the second gets a number."""
    connection = op.get_bind()
    _compose(connection, collections, sa.literal(0))
    _compose(connection, subjects, subjects.c.collection_row)
    for key_id, names in connection.execute(sa.select(keys.c.id, keys.c.collections)).all():
        composed = None if names is None else sorted({unicodedata.normalize("NFC", name) for name in names})
        if composed is not None and composed != sorted(names):
            connection.execute(sa.update(keys).where(keys.c.id == key_id).values(collections=composed))


def downgrade() -> None:
    """Leave the names: either form can be read."""


def _compose(connection: sa.Connection, table: sa.TableClause, within: sa.ColumnElement[int]) -> None:
    rows = connection.execute(sa.select(table.c.row, within, table.c.name).order_by(table.c.row)).all()
    taken = {(place, name) for _, place, name in rows}
    for row, place, name in rows:
        wanted = composed = unicodedata.normalize("NFC", name)
        if composed == name:
            continue
        number = 2
        while (place, wanted) in taken:
            wanted, number = f"{composed[:240]} ({number})", number + 1
        taken.add((place, wanted))
        connection.execute(sa.update(table).where(table.c.row == row).values(name=wanted))
