"""The first schema."""

from __future__ import annotations

import uuid

import sqlalchemy as sa
from alembic import op

from service.database.schema import Moment, Row

revision = "0001"
down_revision = None
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Make the tables."""
    op.create_table(
        "audit",
        sa.Column("row", Row, autoincrement=True, nullable=False),
        sa.Column("at", Moment, nullable=False),
        sa.Column("request_id", sa.String(length=128), nullable=False),
        sa.Column("principal", sa.String(length=255), nullable=False),
        sa.Column("action", sa.String(length=64), nullable=False),
        sa.Column("collection", sa.String(length=255), nullable=True),
        sa.Column("model", sa.String(length=128), nullable=True),
        sa.Column("threshold", sa.Float(), nullable=True),
        sa.Column("outcome", sa.String(length=64), nullable=False),
        sa.PrimaryKeyConstraint("row", name=op.f("pk_audit")),
        sqlite_autoincrement=True,
    )
    op.create_index(op.f("ix_audit_at"), "audit", ["at"], unique=False)
    op.create_index(op.f("ix_audit_request_id"), "audit", ["request_id"], unique=False)
    op.create_table(
        "collections",
        sa.Column("row", Row, autoincrement=True, nullable=False),
        sa.Column("name", sa.String(length=255), nullable=False),
        sa.Column("keep_crops", sa.Boolean(), nullable=False),
        sa.Column("metadata", sa.JSON(), nullable=False),
        sa.Column("created_at", Moment, nullable=False),
        sa.PrimaryKeyConstraint("row", name=op.f("pk_collections")),
        sa.UniqueConstraint("name", name=op.f("uq_collections_name")),
        sqlite_autoincrement=True,
    )
    op.create_table(
        "keys",
        sa.Column("id", sa.String(length=64), nullable=False),
        sa.Column("name", sa.String(length=255), nullable=False),
        sa.Column("hash", sa.String(length=255), nullable=False),
        sa.Column("scopes", sa.JSON(), nullable=False),
        sa.Column("collections", sa.JSON(none_as_null=True), nullable=True),
        sa.Column("created_at", Moment, nullable=False),
        sa.Column("expires_at", Moment, nullable=True),
        sa.Column("revoked_at", Moment, nullable=True),
        sa.Column("last_used_at", Moment, nullable=True),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_keys")),
    )
    op.create_table(
        "models",
        sa.Column("row", Row, autoincrement=True, nullable=False),
        sa.Column("digest", sa.String(length=128), nullable=False),
        sa.Column("dim", sa.Integer(), nullable=False),
        sa.PrimaryKeyConstraint("row", name=op.f("pk_models")),
        sa.UniqueConstraint("digest", name=op.f("uq_models_digest")),
        sqlite_autoincrement=True,
    )
    op.create_table(
        "receipts",
        sa.Column("row", Row, autoincrement=True, nullable=False),
        sa.Column("id", sa.String(length=64), nullable=False),
        sa.Column("kind", sa.String(length=32), nullable=False),
        sa.Column("target", sa.String(length=255), nullable=False),
        sa.Column("faces", sa.Integer(), nullable=False),
        sa.Column("templates", sa.Integer(), nullable=False),
        sa.Column("at", Moment, nullable=False),
        sa.PrimaryKeyConstraint("row", name=op.f("pk_receipts")),
        sa.UniqueConstraint("id", name=op.f("uq_receipts_id")),
        sqlite_autoincrement=True,
    )
    op.create_table(
        "replies",
        sa.Column("principal", sa.String(length=255), nullable=False),
        sa.Column("key", sa.String(length=255), nullable=False),
        sa.Column("fingerprint", sa.String(length=128), nullable=False),
        sa.Column("reply", sa.Text(), nullable=False),
        sa.Column("expires_at", Moment, nullable=False),
        sa.PrimaryKeyConstraint("principal", "key", name=op.f("pk_replies")),
    )
    op.create_index(op.f("ix_replies_expires_at"), "replies", ["expires_at"], unique=False)
    op.create_table(
        "store",
        sa.Column("name", sa.String(length=64), nullable=False),
        sa.Column("value", sa.Text(), nullable=False),
        sa.PrimaryKeyConstraint("name", name=op.f("pk_store")),
    )
    facts = sa.table("store", sa.column("name"), sa.column("value"))
    op.bulk_insert(facts, [{"name": "id", "value": str(uuid.uuid4())}])
    op.create_table(
        "subjects",
        sa.Column("row", Row, autoincrement=True, nullable=False),
        sa.Column("id", sa.String(length=64), nullable=False),
        sa.Column("collection_row", Row, nullable=False),
        sa.Column("name", sa.String(length=255), nullable=False),
        sa.Column("metadata", sa.JSON(), nullable=False),
        sa.Column("created_at", Moment, nullable=False),
        sa.Column("updated_at", Moment, nullable=False),
        sa.ForeignKeyConstraint(
            ["collection_row"], ["collections.row"], name=op.f("fk_subjects_collection_row"), ondelete="CASCADE"
        ),
        sa.PrimaryKeyConstraint("row", name=op.f("pk_subjects")),
        sa.UniqueConstraint("collection_row", "name", name=op.f("uq_subjects_collection_row_name")),
        sa.UniqueConstraint("id", name=op.f("uq_subjects_id")),
        sqlite_autoincrement=True,
    )
    op.create_table(
        "faces",
        sa.Column("row", Row, autoincrement=True, nullable=False),
        sa.Column("id", sa.String(length=64), nullable=False),
        sa.Column("collection_row", Row, nullable=False),
        sa.Column("subject_row", Row, nullable=False),
        sa.Column("created_at", Moment, nullable=False),
        sa.Column("quality", sa.JSON(), nullable=False),
        sa.Column("box", sa.JSON(), nullable=False),
        sa.Column("landmarks", sa.JSON(), nullable=False),
        sa.Column("source_sha256", sa.String(length=64), nullable=False),
        sa.ForeignKeyConstraint(
            ["collection_row"], ["collections.row"], name=op.f("fk_faces_collection_row"), ondelete="CASCADE"
        ),
        sa.ForeignKeyConstraint(
            ["subject_row"], ["subjects.row"], name=op.f("fk_faces_subject_row"), ondelete="CASCADE"
        ),
        sa.PrimaryKeyConstraint("row", name=op.f("pk_faces")),
        sa.UniqueConstraint("id", name=op.f("uq_faces_id")),
        sqlite_autoincrement=True,
    )
    op.create_index(op.f("ix_faces_collection_row"), "faces", ["collection_row"], unique=False)
    op.create_index(op.f("ix_faces_subject_row"), "faces", ["subject_row"], unique=False)
    op.create_table(
        "crops",
        sa.Column("face_row", Row, nullable=False),
        sa.Column("key_id", sa.String(length=64), nullable=True),
        sa.Column("data", sa.LargeBinary(), nullable=False),
        sa.ForeignKeyConstraint(["face_row"], ["faces.row"], name=op.f("fk_crops_face_row"), ondelete="CASCADE"),
        sa.PrimaryKeyConstraint("face_row", name=op.f("pk_crops")),
    )
    op.create_table(
        "templates",
        sa.Column("row", Row, autoincrement=True, nullable=False),
        sa.Column("face_row", Row, nullable=False),
        sa.Column("model_row", Row, nullable=False),
        sa.Column("collection_row", Row, nullable=False),
        sa.Column("subject_row", Row, nullable=False),
        sa.Column("key_id", sa.String(length=64), nullable=True),
        sa.Column("vector", sa.LargeBinary(), nullable=False),
        sa.ForeignKeyConstraint(["face_row"], ["faces.row"], name=op.f("fk_templates_face_row"), ondelete="CASCADE"),
        sa.ForeignKeyConstraint(["model_row"], ["models.row"], name=op.f("fk_templates_model_row"), ondelete="CASCADE"),
        sa.PrimaryKeyConstraint("row", name=op.f("pk_templates")),
        sa.UniqueConstraint("face_row", "model_row", name=op.f("uq_templates_face_row_model_row")),
        sqlite_autoincrement=True,
    )
    op.create_index(
        op.f("ix_templates_collection_row_model_row"), "templates", ["collection_row", "model_row"], unique=False
    )


def downgrade() -> None:
    """Drop the tables."""
    op.drop_index(op.f("ix_templates_collection_row_model_row"), table_name="templates")
    op.drop_table("templates")
    op.drop_table("crops")
    op.drop_index(op.f("ix_faces_subject_row"), table_name="faces")
    op.drop_index(op.f("ix_faces_collection_row"), table_name="faces")
    op.drop_table("faces")
    op.drop_table("subjects")
    op.drop_table("store")
    op.drop_index(op.f("ix_replies_expires_at"), table_name="replies")
    op.drop_table("replies")
    op.drop_table("receipts")
    op.drop_table("models")
    op.drop_table("keys")
    op.drop_table("collections")
    op.drop_index(op.f("ix_audit_request_id"), table_name="audit")
    op.drop_index(op.f("ix_audit_at"), table_name="audit")
    op.drop_table("audit")
