"""A record brought to the newest schema, by Alembic's steps, at every start."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import sqlalchemy as sa
from alembic.config import Config
from alembic.runtime.migration import MigrationContext
from alembic.script import ScriptDirectory
from alembic.util import CommandError

from service.gallery.errors import StorageUnavailable

MIGRATING = 0x6661636574
"""The lock of whoever migrates: replicas that start together take turns."""


HOUR = 3600.0


@contextmanager
def unhurried(connection: sa.Connection) -> Iterator[None]:
    """Lift the limits of a database server's statements for work that grows with what is stored."""
    if connection.dialect.name != "postgresql":
        yield
        return
    connection.exec_driver_sql("SET LOCAL statement_timeout = 0")
    connection.exec_driver_sql("SET LOCAL lock_timeout = 0")
    driver: Any = connection.connection.driver_connection
    patience, driver.patience = driver.patience, HOUR
    try:
        yield
    finally:
        driver.patience = patience


def upgrade(engine: sa.Engine) -> None:
    """Run the steps that are missing, all of them or none.

    Raises:
        StorageUnavailable: the record was written by a newer version.
    """
    logging.getLogger("alembic.runtime.migration").setLevel(logging.WARNING)  # it reports every start
    config = Config()
    config.set_main_option("script_location", str(Path(__file__).parent / "migrations"))
    scripts = ScriptDirectory.from_config(config)
    head = scripts.get_current_head()
    with engine.connect() as connection:
        if MigrationContext.configure(connection).get_current_revision() == head:
            return
    writing = engine.connect().execution_options(immediate=True)
    with writing as connection, connection.begin(), unhurried(connection):
        if connection.dialect.name == "postgresql":
            connection.exec_driver_sql(f"SELECT pg_advisory_xact_lock({MIGRATING})")
        context = MigrationContext.configure(
            connection, opts={"fn": lambda current, _: scripts._upgrade_revs("head", current)}
        )
        try:
            with _operations(context):
                context.run_migrations()
        except CommandError as error:
            raise StorageUnavailable(
                f"The gallery was written by a newer version of Facet ({error}): run that version, or restore a backup."
            ) from error


@contextmanager
def _operations(context: MigrationContext) -> Iterator[None]:
    from alembic.operations import Operations  # noqa: PLC0415 - half the import time of alembic, needed once

    with Operations.context(context):
        yield
