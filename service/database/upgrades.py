"""Databases brought to the newest schema at every start."""

from __future__ import annotations

import logging
from collections.abc import Callable
from pathlib import Path

import sqlalchemy as sa

from service.database.errors import StorageUnavailable
from service.database.timeouts import without_timeouts
from service.database.transaction import serialise

log = logging.getLogger(__name__)
SCRIPTS = Path(__file__).parent / "migrations"


def upgrade(engine: sa.Engine, keep: Callable[[str], object] | None = None) -> None:
    """Take the steps that are missing, all of them or none.

    Args:
        engine: Its connections honour the execution option `immediate`.
        keep: Is given the revision of a database that is about to be changed, and keeps a copy of it.

    Raises:
        StorageUnavailable: The database was written by a newer version.
    """
    revision, newest = revision_of(engine), newest_revision()
    if revision == newest:
        return
    if revision is not None and revision < newest:
        copy = None if keep is None else keep(revision)
        kept = "no copy of it is made: a dump is yours to take" if copy is None else f"what it was is kept in {copy}"
        log.warning("the schema of the database goes from %s to %s; %s", revision, newest, kept)
    _take_steps(engine)


def _take_steps(engine: sa.Engine) -> None:
    from alembic import command  # noqa: PLC0415 - slow to load, and rarely needed
    from alembic.config import Config  # noqa: PLC0415
    from alembic.util import CommandError  # noqa: PLC0415

    logging.getLogger("alembic.runtime.migration").setLevel(logging.WARNING)
    config = Config()
    config.set_main_option("script_location", str(SCRIPTS))
    writing = engine.connect().execution_options(immediate=True)
    with writing as connection, connection.begin(), without_timeouts(connection):
        serialise(connection, "migration")  # replicas that start together take turns
        config.attributes["connection"] = connection
        try:
            command.upgrade(config, "head")
        except CommandError as error:
            raise StorageUnavailable(
                f"The gallery was written by a newer version of Facet ({error}): run that version, or restore a backup."
            ) from error


def revision_of(engine: sa.Engine) -> str | None:
    """The revision that Alembic noted, None in a new database."""
    with engine.connect() as connection:
        if not sa.inspect(connection).has_table("alembic_version"):
            return None
        revision = connection.scalar(sa.text("SELECT version_num FROM alembic_version"))
        return None if revision is None else str(revision)


def newest_revision() -> str:
    """The revision of the last step; their files are named by it: `0002_comparison.py`."""
    return max(path.name.partition("_")[0] for path in (SCRIPTS / "versions").glob("[0-9]*_*.py"))
