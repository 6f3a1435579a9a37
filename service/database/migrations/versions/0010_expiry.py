"""When a subject expires, and how enrolments into a collection treat unfit faces."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0010"
down_revision = "0009"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Add the columns; nobody expires, and enrolments decide as they did."""
    op.add_column("subjects", sa.Column("expires_at", sa.DateTime(timezone=True), nullable=True))
    op.create_index("ix_subjects_expires_at", "subjects", ["expires_at"])
    op.add_column("collections", sa.Column("quality", sa.String(length=16), nullable=True))


def downgrade() -> None:
    """Take them away."""
    op.drop_column("collections", "quality")
    op.drop_index("ix_subjects_expires_at", table_name="subjects")
    op.drop_column("subjects", "expires_at")
