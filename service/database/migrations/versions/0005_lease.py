"""Who works on a job that makes templates, and until when that holds."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

from service.database.schema import Moment

revision = "0005"
down_revision = "0004"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Make the columns."""
    op.add_column("reembeddings", sa.Column("holder", sa.String(length=64), nullable=True))
    op.add_column("reembeddings", sa.Column("held_until", Moment, nullable=True))


def downgrade() -> None:
    """Drop the columns."""
    op.drop_column("reembeddings", "held_until")
    op.drop_column("reembeddings", "holder")
