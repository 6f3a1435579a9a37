"""Checksums of templates; whose a decision, a receipt and an entry of the audit log are."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

from service.database.template_seal import TemplatePlace, checksum_of

revision = "0009"
down_revision = "0008"
branch_labels = None
depends_on = None

SOME = 5_000


def upgrade() -> None:
    """Add the columns, and give their checksums to templates that are not encrypted: those that are need the key."""
    op.add_column("templates", sa.Column("checksum", sa.LargeBinary(length=16), nullable=True))
    op.add_column("audit", sa.Column("target", sa.String(length=255), nullable=True))
    op.add_column("decisions", sa.Column("principal", sa.String(length=255), nullable=True))
    op.add_column("receipts", sa.Column("collection", sa.String(length=255), nullable=True))
    _give_checksums(op.get_bind())


def downgrade() -> None:
    """Take the columns away."""
    for table, column in (
        ("receipts", "collection"),
        ("decisions", "principal"),
        ("audit", "target"),
        ("templates", "checksum"),
    ):
        op.drop_column(table, column)


def _give_checksums(connection: sa.Connection) -> None:
    names = ("row", "collection_row", "subject_row", "face_row", "model_row", "key_id", "vector", "checksum")
    table = sa.table("templates", *map(sa.column, names))
    change = sa.update(table).where(table.c.row == sa.bindparam("at")).values(checksum=sa.bindparam("sum"))
    query = sa.select(table).where(table.c.key_id.is_(None)).order_by(table.c.row).limit(SOME)
    after = 0
    while entries := connection.execute(query.where(table.c.row > after)).all():
        values = []
        for entry in entries:
            place = TemplatePlace(entry.collection_row, entry.subject_row, entry.face_row, entry.model_row)
            values.append({"at": entry.row, "sum": checksum_of(bytes(entry.vector), None, place)})
        connection.execute(change, values)
        after = entries[-1].row
