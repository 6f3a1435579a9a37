"""What Alembic runs for every upgrade: the steps, on the connection that it was given."""

from __future__ import annotations

from alembic import context

from service.database.schema import metadata

context.configure(connection=context.config.attributes["connection"], target_metadata=metadata)
with context.begin_transaction():
    context.run_migrations()
