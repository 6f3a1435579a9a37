"""Messages to receivers of webhooks that are still to be delivered."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

from service.database.schema import Moment, Row

revision = "0011"
down_revision = "0010"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Make the table."""
    op.create_table(
        "webhook_messages",
        sa.Column("row", Row, autoincrement=True, nullable=False),
        sa.Column("id", sa.String(length=64), nullable=False),
        sa.Column("at", Moment, nullable=False),
        sa.Column("endpoint", sa.String(length=64), nullable=False),
        sa.Column("event", sa.String(length=64), nullable=False),
        sa.Column("data", sa.JSON(), nullable=False),
        sa.Column("tries", sa.Integer(), nullable=False),
        sa.Column("due_at", Moment, nullable=False),
        sa.PrimaryKeyConstraint("row", name=op.f("pk_webhook_messages")),
        sqlite_autoincrement=True,
    )
    op.create_index(op.f("ix_webhook_messages_endpoint"), "webhook_messages", ["endpoint", "due_at"], unique=False)


def downgrade() -> None:
    """Drop the table."""
    op.drop_index(op.f("ix_webhook_messages_endpoint"), table_name="webhook_messages")
    op.drop_table("webhook_messages")
