"""Outcomes of enrolments in place of the texts of their answers."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0006"
down_revision = "0005"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Make the columns; answers kept as text stay readable until their time is up."""
    op.add_column("replies", sa.Column("outcome", sa.Text(), nullable=True))
    op.add_column("replies", sa.Column("subject_id", sa.String(length=64), nullable=True))
    op.create_index(op.f("ix_replies_subject_id"), "replies", ["subject_id"], unique=False)


def downgrade() -> None:
    """Drop the columns."""
    op.drop_index(op.f("ix_replies_subject_id"), table_name="replies")
    op.drop_column("replies", "subject_id")
    op.drop_column("replies", "outcome")
