"""Roles of models, and comparisons of their decisions."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

from service.database.schema import Moment, Row

revision = "0002"
down_revision = "0001"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Make the tables."""
    op.create_table(
        "roles",
        sa.Column("row", Row, autoincrement=True, nullable=False),
        sa.Column("at", Moment, nullable=False),
        sa.Column("principal", sa.String(length=255), nullable=False),
        sa.Column("action", sa.String(length=16), nullable=False),
        sa.Column("champion", sa.String(length=128), nullable=False),
        sa.Column("challenger", sa.String(length=128), nullable=True),
        sa.Column("sample", sa.Float(), nullable=False),
        sa.Column("previous", Row, nullable=True),
        sa.PrimaryKeyConstraint("row", name=op.f("pk_roles")),
        sqlite_autoincrement=True,
    )
    op.create_table(
        "comparisons",
        sa.Column("row", Row, autoincrement=True, nullable=False),
        sa.Column("at", Moment, nullable=False),
        sa.Column("request_id", sa.String(length=128), nullable=False),
        sa.Column("route", sa.String(length=16), nullable=False),
        sa.Column("face", sa.Integer(), nullable=False),
        sa.Column("collection", sa.String(length=255), nullable=True),
        sa.Column("champion", sa.String(length=128), nullable=False),
        sa.Column("champion_score", sa.Float(), nullable=True),
        sa.Column("champion_threshold", sa.Float(), nullable=False),
        sa.Column("champion_fmr", sa.Float(), nullable=True),
        sa.Column("champion_decision", sa.String(length=16), nullable=False),
        sa.Column("champion_rank", sa.Integer(), nullable=True),
        sa.Column("champion_seconds", sa.Float(), nullable=False),
        sa.Column("challenger", sa.String(length=128), nullable=True),
        sa.Column("challenger_score", sa.Float(), nullable=True),
        sa.Column("challenger_threshold", sa.Float(), nullable=True),
        sa.Column("challenger_fmr", sa.Float(), nullable=True),
        sa.Column("challenger_decision", sa.String(length=16), nullable=True),
        sa.Column("challenger_rank", sa.Integer(), nullable=True),
        sa.Column("challenger_seconds", sa.Float(), nullable=True),
        sa.Column("agree", sa.Boolean(), nullable=True),
        sa.Column("outcome", sa.String(length=16), nullable=True),
        sa.Column("outcome_by", sa.String(length=255), nullable=True),
        sa.Column("outcome_at", Moment, nullable=True),
        sa.PrimaryKeyConstraint("row", name=op.f("pk_comparisons")),
        sqlite_autoincrement=True,
    )
    op.create_index(op.f("ix_comparisons_at"), "comparisons", ["at"], unique=False)
    op.create_index(op.f("ix_comparisons_request_id"), "comparisons", ["request_id"], unique=False)


def downgrade() -> None:
    """Drop the tables."""
    op.drop_index(op.f("ix_comparisons_request_id"), table_name="comparisons")
    op.drop_index(op.f("ix_comparisons_at"), table_name="comparisons")
    op.drop_table("comparisons")
    op.drop_table("roles")
