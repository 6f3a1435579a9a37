"""Alembic's entry for `alembic` on the command line; the service runs the same scripts at its start."""

from __future__ import annotations

from alembic import context

from service.database.schema import metadata

context.configure(connection=context.config.attributes["connection"], target_metadata=metadata)
with context.begin_transaction():
    context.run_migrations()
