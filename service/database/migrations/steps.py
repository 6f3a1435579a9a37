"""The steps to the newest schema, taken by Alembic."""

from __future__ import annotations

import logging
from pathlib import Path

import sqlalchemy as sa
from alembic.config import Config
from alembic.operations import Operations
from alembic.runtime.migration import MigrationContext
from alembic.script import ScriptDirectory
from alembic.util import CommandError

from service.database.sqlite import serialise
from service.database.timeouts import unhurried
from service.gallery.errors import StorageUnavailable


def take_steps(engine: sa.Engine) -> None:
    """Run the steps that are missing, all of them or none.

    Raises:
        StorageUnavailable: the record was written by a newer version.
    """
    logging.getLogger("alembic.runtime.migration").setLevel(logging.WARNING)
    config = Config()
    config.set_main_option("script_location", str(Path(__file__).parent))
    scripts = ScriptDirectory.from_config(config)
    writing = engine.connect().execution_options(immediate=True)
    with writing as connection, connection.begin(), unhurried(connection):
        serialise(connection, "migration")  # replicas that start together take turns
        context = MigrationContext.configure(
            connection, opts={"fn": lambda current, _: scripts._upgrade_revs("head", current)}
        )
        try:
            with Operations.context(context):
                context.run_migrations()
        except CommandError as error:
            raise StorageUnavailable(
                f"The gallery was written by a newer version of Facet ({error}): run that version, or restore a backup."
            ) from error
