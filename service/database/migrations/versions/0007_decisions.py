"""One row for each model of a sampled decision, in place of a column for each model and value."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

from service.database.schema import Moment, Row

revision = "0007"
down_revision = "0006"
branch_labels = None
depends_on = None

HEAD = ("at", "request_id", "route", "face", "collection", "agree", "outcome", "outcome_by", "outcome_at")
VALUES = ("score", "threshold", "fmr", "decision", "rank", "seconds")


def upgrade() -> None:
    """Make the tables, and carry over what is in the one before."""
    op.create_table(
        "decisions",
        sa.Column("row", Row, autoincrement=True, nullable=False),
        sa.Column("at", Moment, nullable=False),
        sa.Column("request_id", sa.String(length=128), nullable=False),
        sa.Column("route", sa.String(length=16), nullable=False),
        sa.Column("face", sa.Integer(), nullable=False),
        sa.Column("collection", sa.String(length=255), nullable=True),
        sa.Column("agree", sa.Boolean(), nullable=True),
        sa.Column("outcome", sa.String(length=16), nullable=True),
        sa.Column("outcome_by", sa.String(length=255), nullable=True),
        sa.Column("outcome_at", Moment, nullable=True),
        sa.PrimaryKeyConstraint("row", name=op.f("pk_decisions")),
        sqlite_autoincrement=True,
    )
    op.create_index(op.f("ix_decisions_at"), "decisions", ["at"], unique=False)
    op.create_index(op.f("ix_decisions_request_id"), "decisions", ["request_id"], unique=False)
    op.create_table(
        "decision_results",
        sa.Column("decision_row", Row, nullable=False),
        sa.Column("role", sa.String(length=16), nullable=False),
        sa.Column("model", sa.String(length=128), nullable=False),
        sa.Column("score", sa.Float(), nullable=True),
        sa.Column("threshold", sa.Float(), nullable=False),
        sa.Column("fmr", sa.Float(), nullable=True),
        sa.Column("decision", sa.String(length=16), nullable=False),
        sa.Column("rank", sa.Integer(), nullable=True),
        sa.Column("seconds", sa.Float(), nullable=False),
        sa.ForeignKeyConstraint(
            ["decision_row"], ["decisions.row"], name=op.f("fk_decision_results_decision_row"), ondelete="CASCADE"
        ),
        sa.PrimaryKeyConstraint("decision_row", "role", name=op.f("pk_decision_results")),
    )
    _carry_over()
    op.drop_index(op.f("ix_comparisons_request_id"), table_name="comparisons")
    op.drop_index(op.f("ix_comparisons_at"), table_name="comparisons")
    op.drop_table("comparisons")


def downgrade() -> None:
    """Refuse: a table of the form before would have to be filled from two."""
    raise NotImplementedError("decisions are not carried back")


def _carry_over() -> None:
    names = [f"{role}{suffix}" for role in ("champion", "challenger") for suffix in ("", *(f"_{v}" for v in VALUES))]
    before = sa.table("comparisons", *map(sa.column, ("row", *HEAD, *names)))
    decisions = sa.table("decisions", *map(sa.column, ("row", *HEAD)))
    results = sa.table("decision_results", *map(sa.column, ("decision_row", "role", "model", *VALUES)))
    columns = ["row", *HEAD]
    op.execute(sa.insert(decisions).from_select(columns, sa.select(*(before.c[name] for name in columns))))
    for role in ("champion", "challenger"):
        values = [before.c[f"{role}_{value}"] for value in VALUES]
        rows = sa.select(before.c.row, sa.literal(role), before.c[role], *values).where(before.c[role].is_not(None))
        op.execute(sa.insert(results).from_select(["decision_row", "role", "model", *VALUES], rows))
    if op.get_bind().dialect.name == "postgresql":  # rows given by hand do not advance the sequence
        newest = sa.select(sa.func.coalesce(sa.func.max(decisions.c.row), 0) + 1).scalar_subquery()
        sequence = sa.func.pg_get_serial_sequence("decisions", "row")
        op.execute(sa.select(sa.func.setval(sequence, newest, sa.false())))
