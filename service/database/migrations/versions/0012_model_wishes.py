"""Which models every process is to load or to unload while it runs."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

from service.database.schema import Moment, Row

revision = "0012"
down_revision = "0011"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Make the table; what the settings say holds."""
    op.create_table(
        "model_wishes",
        sa.Column("row", Row, autoincrement=True, nullable=False),
        sa.Column("at", Moment, nullable=False),
        sa.Column("principal", sa.String(length=255), nullable=False),
        sa.Column("model", sa.String(length=128), nullable=False),
        sa.Column("name", sa.String(length=255), nullable=False),
        sa.Column("loaded", sa.Boolean(), nullable=False),
        sa.PrimaryKeyConstraint("row", name=op.f("pk_model_wishes")),
        sqlite_autoincrement=True,
    )


def downgrade() -> None:
    """Drop the table."""
    op.drop_table("model_wishes")
