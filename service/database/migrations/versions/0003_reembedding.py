"""Templates made from kept crops, job by job."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

from service.database.schema import Moment, Row

revision = "0003"
down_revision = "0002"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Make the table."""
    op.create_table(
        "reembeddings",
        sa.Column("row", Row, autoincrement=True, nullable=False),
        sa.Column("id", sa.String(length=64), nullable=False),
        sa.Column("at", Moment, nullable=False),
        sa.Column("principal", sa.String(length=255), nullable=False),
        sa.Column("model", sa.String(length=128), nullable=False),
        sa.Column("collection", sa.String(length=255), nullable=True),
        sa.Column("rate", sa.Float(), nullable=False),
        sa.Column("state", sa.String(length=16), nullable=False),
        sa.Column("reached", Row, nullable=False),
        sa.Column("total", sa.Integer(), nullable=False),
        sa.Column("made", sa.Integer(), nullable=False),
        sa.Column("failed", sa.Integer(), nullable=False),
        sa.Column("ended_at", Moment, nullable=True),
        sa.PrimaryKeyConstraint("row", name=op.f("pk_reembeddings")),
        sa.UniqueConstraint("id", name=op.f("uq_reembeddings_id")),
        sqlite_autoincrement=True,
    )
    op.create_index(op.f("ix_reembeddings_state"), "reembeddings", ["state"], unique=False)


def downgrade() -> None:
    """Drop the table."""
    op.drop_index(op.f("ix_reembeddings_state"), table_name="reembeddings")
    op.drop_table("reembeddings")
