"""The tables of the database, in types that SQLite and PostgreSQL share.

A template's `row` is given once and never again (AUTOINCREMENT), and its vector never changes: an index may therefore
name a template by its row alone, and what an old segment file lacks or has too much is found by comparing rows.
"""

from __future__ import annotations

import secrets
import time
import uuid
from datetime import UTC, datetime
from typing import Any

import sqlalchemy as sa

Row = sa.BigInteger().with_variant(sa.Integer, "sqlite")


class Moment(sa.TypeDecorator[datetime]):
    """An aware datetime in UTC, also where the engine forgets time zones."""

    impl = sa.DateTime(timezone=True)
    cache_ok = True

    def process_bind_param(self, value: datetime | None, dialect: sa.Dialect) -> datetime | None:
        """Store UTC."""
        return None if value is None else value.astimezone(UTC)

    def process_result_value(self, value: Any, dialect: sa.Dialect) -> datetime | None:
        """Give back UTC, aware."""
        return None if value is None else value.replace(tzinfo=UTC) if value.tzinfo is None else value.astimezone(UTC)


def now() -> datetime:
    """Return the present, aware, in UTC."""
    return datetime.now(UTC)


def new_id() -> str:
    """Make a UUID version 7 (RFC 9562): 48 bits of milliseconds, then random, so that ids sort by time of birth."""
    value = (time.time_ns() // 1_000_000) << 80 | 0x7 << 76 | secrets.randbits(12) << 64 | 0b10 << 62
    return str(uuid.UUID(int=value | secrets.randbits(62)))


def _row() -> sa.Column[int]:
    return sa.Column("row", Row, primary_key=True, autoincrement=True)


def _refers(target: str) -> sa.Column[int]:
    return sa.Column(
        f"{target.rstrip('s')}_row", Row, sa.ForeignKey(f"{target}.row", ondelete="CASCADE"), nullable=False
    )


metadata = sa.MetaData(
    naming_convention={
        "ix": "ix_%(table_name)s_%(column_0_N_name)s",
        "uq": "uq_%(table_name)s_%(column_0_N_name)s",
        "fk": "fk_%(table_name)s_%(column_0_name)s",
        "pk": "pk_%(table_name)s",
    }
)

store = sa.Table(
    "store",
    metadata,
    sa.Column("name", sa.String(64), primary_key=True),
    sa.Column("value", sa.Text, nullable=False),
)
"""Facts about the store itself: its identity."""

collections = sa.Table(
    "collections",
    metadata,
    _row(),
    sa.Column("name", sa.String(255), nullable=False, unique=True),
    sa.Column("keep_crops", sa.Boolean, nullable=False),
    sa.Column("metadata", sa.JSON, nullable=False),
    sa.Column("created_at", Moment, nullable=False),
    sa.Column("quality", sa.String(16), nullable=True),
    sqlite_autoincrement=True,
)

models = sa.Table(
    "models",
    metadata,
    _row(),
    sa.Column("digest", sa.String(128), nullable=False, unique=True),
    sa.Column("dim", sa.Integer, nullable=False),
    sqlite_autoincrement=True,
)

subjects = sa.Table(
    "subjects",
    metadata,
    _row(),
    sa.Column("id", sa.String(64), nullable=False, unique=True),
    _refers("collections"),
    sa.Column("name", sa.String(255), nullable=False),
    sa.Column("metadata", sa.JSON, nullable=False),
    sa.Column("created_at", Moment, nullable=False),
    sa.Column("updated_at", Moment, nullable=False),
    sa.Column("expires_at", Moment, nullable=True, index=True),
    sa.UniqueConstraint("collection_row", "name"),
    sqlite_autoincrement=True,
)

faces = sa.Table(
    "faces",
    metadata,
    _row(),
    sa.Column("id", sa.String(64), nullable=False, unique=True),
    _refers("collections"),
    _refers("subjects"),
    sa.Column("created_at", Moment, nullable=False),
    sa.Column("quality", sa.JSON, nullable=False),
    sa.Column("box", sa.JSON, nullable=False),
    sa.Column("landmarks", sa.JSON, nullable=False),
    sa.Column("source_sha256", sa.String(64), nullable=False),
    sa.Index(None, "collection_row"),
    sa.Index(None, "subject_row"),
    sqlite_autoincrement=True,
)

templates = sa.Table(
    "templates",
    metadata,
    _row(),
    _refers("faces"),
    _refers("models"),
    sa.Column("collection_row", Row, nullable=False),
    sa.Column("subject_row", Row, nullable=False),
    sa.Column("key_id", sa.String(64), nullable=True),
    sa.Column("vector", sa.LargeBinary, nullable=False),
    sa.Column("checksum", sa.LargeBinary(16), nullable=True),
    sa.UniqueConstraint("face_row", "model_row"),
    sa.Index(None, "collection_row", "model_row"),
    sqlite_autoincrement=True,
)
"""`vector` is D little-endian float16, or its ciphertext when `key_id` is set. `checksum` is over it and the rows it
refers to, `service.database.template_seal`; a template without one is damaged.
"""

crops = sa.Table(
    "crops",
    metadata,
    sa.Column("face_row", Row, sa.ForeignKey("faces.row", ondelete="CASCADE"), primary_key=True),
    sa.Column("key_id", sa.String(64), nullable=True),
    sa.Column("data", sa.LargeBinary, nullable=False),
)

replies = sa.Table(
    "replies",
    metadata,
    sa.Column("principal", sa.String(255), primary_key=True),
    sa.Column("key", sa.String(255), primary_key=True),
    sa.Column("fingerprint", sa.String(128), nullable=False),
    sa.Column("reply", sa.Text, nullable=False),
    sa.Column("expires_at", Moment, nullable=False, index=True),
    sa.Column("outcome", sa.Text, nullable=True),
    sa.Column("subject_id", sa.String(64), nullable=True, index=True),
)
"""Outcomes kept for repeated requests, as JSON, and whom they are of. `reply` is the answer's text where a version
before outcomes kept it, and empty otherwise. `service.gallery.changes.kept_outcomes`.
"""

receipts = sa.Table(
    "receipts",
    metadata,
    _row(),
    sa.Column("id", sa.String(64), nullable=False, unique=True),
    sa.Column("kind", sa.String(32), nullable=False),
    sa.Column("target", sa.String(255), nullable=False),
    sa.Column("faces", sa.Integer, nullable=False),
    sa.Column("templates", sa.Integer, nullable=False),
    sa.Column("at", Moment, nullable=False),
    sa.Column("collection", sa.String(255), nullable=True),
    sqlite_autoincrement=True,
)

audit = sa.Table(
    "audit",
    metadata,
    _row(),
    sa.Column("at", Moment, nullable=False, index=True),
    sa.Column("request_id", sa.String(128), nullable=False, index=True),
    sa.Column("principal", sa.String(255), nullable=False),
    sa.Column("action", sa.String(64), nullable=False),
    sa.Column("collection", sa.String(255), nullable=True),
    sa.Column("model", sa.String(128), nullable=True),
    sa.Column("threshold", sa.Float, nullable=True),
    sa.Column("outcome", sa.String(64), nullable=False),
    sa.Column("target", sa.String(255), nullable=True),
    sqlite_autoincrement=True,
)
"""Who asked what of whom, by ids. `service.database.audit_log`."""

keys = sa.Table(
    "keys",
    metadata,
    sa.Column("id", sa.String(64), primary_key=True),
    sa.Column("name", sa.String(255), nullable=False),
    sa.Column("hash", sa.String(255), nullable=False),
    sa.Column("scopes", sa.JSON, nullable=False),
    sa.Column("collections", sa.JSON(none_as_null=True), nullable=True),
    sa.Column("created_at", Moment, nullable=False),
    sa.Column("expires_at", Moment, nullable=True),
    sa.Column("revoked_at", Moment, nullable=True),
    sa.Column("last_used_at", Moment, nullable=True),
)
"""API keys; read and written by `service.keys`."""

roles = sa.Table(
    "roles",
    metadata,
    _row(),
    sa.Column("at", Moment, nullable=False),
    sa.Column("principal", sa.String(255), nullable=False),
    sa.Column("action", sa.String(16), nullable=False),
    sa.Column("champion", sa.String(128), nullable=False),
    sa.Column("challenger", sa.String(128), nullable=True),
    sa.Column("sample", sa.Float, nullable=False),
    sa.Column("previous", Row, nullable=True),
    sqlite_autoincrement=True,
)
"""Which models were champion and challenger, and since when; the last row holds now. `service.rollout.roles`."""

decisions = sa.Table(
    "decisions",
    metadata,
    _row(),
    sa.Column("at", Moment, nullable=False, index=True),
    sa.Column("request_id", sa.String(128), nullable=False, index=True),
    sa.Column("route", sa.String(16), nullable=False),
    sa.Column("face", sa.Integer, nullable=False),
    sa.Column("collection", sa.String(255), nullable=True),
    sa.Column("agree", sa.Boolean, nullable=True),
    sa.Column("outcome", sa.String(16), nullable=True),
    sa.Column("outcome_by", sa.String(255), nullable=True),
    sa.Column("outcome_at", Moment, nullable=True),
    sa.Column("principal", sa.String(255), nullable=True),
    sqlite_autoincrement=True,
)
"""Sampled decisions, whether the models agreed, and what was true. `service.rollout.decision_log`."""

decision_results = sa.Table(
    "decision_results",
    metadata,
    sa.Column("decision_row", Row, sa.ForeignKey("decisions.row", ondelete="CASCADE"), primary_key=True),
    sa.Column("role", sa.String(16), primary_key=True),
    sa.Column("model", sa.String(128), nullable=False),
    sa.Column("score", sa.Float, nullable=True),
    sa.Column("threshold", sa.Float, nullable=False),
    sa.Column("fmr", sa.Float, nullable=True),
    sa.Column("decision", sa.String(16), nullable=False),
    sa.Column("rank", sa.Integer, nullable=True),
    sa.Column("seconds", sa.Float, nullable=False),
)
"""What each model decided of them, by its role: champion, or challenger. `rank` is where its list has the other
model's first subject.
"""

reembeddings = sa.Table(
    "reembeddings",
    metadata,
    _row(),
    sa.Column("id", sa.String(64), nullable=False, unique=True),
    sa.Column("at", Moment, nullable=False),
    sa.Column("principal", sa.String(255), nullable=False),
    sa.Column("model", sa.String(128), nullable=False),
    sa.Column("collection", sa.String(255), nullable=True),
    sa.Column("rate", sa.Float, nullable=False),
    sa.Column("state", sa.String(16), nullable=False, index=True),
    sa.Column("reached", Row, nullable=False),
    sa.Column("total", sa.Integer, nullable=False),
    sa.Column("made", sa.Integer, nullable=False),
    sa.Column("failed", sa.Integer, nullable=False),
    sa.Column("ended_at", Moment, nullable=True),
    sa.Column("holder", sa.String(64), nullable=True),
    sa.Column("held_until", Moment, nullable=True),
    sqlite_autoincrement=True,
)
"""Templates of a model made from kept crops, job by job. `reached` is the row of the last face looked at;
`holder` is the process that works on it, until `held_until`. `service.rollout.backfill.jobs`.
"""

outbox = sa.Table(
    "outbox",
    metadata,
    _row(),
    sa.Column("kind", sa.String(8), nullable=False),
    sa.Column("collection_row", Row, nullable=False),
    sa.Column("model_row", Row, nullable=True),
    sa.Column("template_row", Row, nullable=True),
    sa.Column("applied_at", Moment, nullable=True),
    sa.Index(None, "collection_row", "model_row"),
    sqlite_autoincrement=True,
)
"""Changes that an index outside the database has still to follow, or has followed a moment ago. `gallery.outbox`."""

webhook_messages = sa.Table(
    "webhook_messages",
    metadata,
    _row(),
    sa.Column("id", sa.String(64), nullable=False),
    sa.Column("at", Moment, nullable=False),
    sa.Column("endpoint", sa.String(64), nullable=False),
    sa.Column("event", sa.String(64), nullable=False),
    sa.Column("data", sa.JSON, nullable=False),
    sa.Column("tries", sa.Integer, nullable=False),
    sa.Column("due_at", Moment, nullable=False),
    sa.Index("ix_webhook_messages_endpoint", "endpoint", "due_at"),
    sqlite_autoincrement=True,
)
"""Messages that a receiver has still to be told, by ids. `id` is the event's, the same for every receiver; who takes a
message moves `due_at` on for as long as a try may take. `service.webhooks.outbox`.
"""

model_wishes = sa.Table(
    "model_wishes",
    metadata,
    _row(),
    sa.Column("at", Moment, nullable=False),
    sa.Column("principal", sa.String(255), nullable=False),
    sa.Column("model", sa.String(128), nullable=False),
    sa.Column("name", sa.String(255), nullable=False),
    sa.Column("loaded", sa.Boolean, nullable=False),
    sqlite_autoincrement=True,
)
"""Models, by digest, that every process is to load or to unload; the last row of each holds, before the settings.
`service.rollout.wishes`.
"""
