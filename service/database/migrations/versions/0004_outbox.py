"""What an index outside the database has still to follow."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

from service.database.schema import Moment, Row

revision = "0004"
down_revision = "0003"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Make the table."""
    op.create_table(
        "outbox",
        sa.Column("row", Row, autoincrement=True, nullable=False),
        sa.Column("kind", sa.String(length=8), nullable=False),
        sa.Column("collection_row", Row, nullable=False),
        sa.Column("model_row", Row, nullable=True),
        sa.Column("template_row", Row, nullable=True),
        sa.Column("applied_at", Moment, nullable=True),
        sa.PrimaryKeyConstraint("row", name=op.f("pk_outbox")),
        sqlite_autoincrement=True,
    )
    op.create_index(op.f("ix_outbox_collection_row_model_row"), "outbox", ["collection_row", "model_row"], unique=False)


def downgrade() -> None:
    """Drop the table."""
    op.drop_index(op.f("ix_outbox_collection_row_model_row"), table_name="outbox")
    op.drop_table("outbox")
