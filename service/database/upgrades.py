"""A record brought to the newest schema at every start."""

from __future__ import annotations

from pathlib import Path

import sqlalchemy as sa

STEPS = Path(__file__).parent / "migrations" / "versions"


def upgrade(engine: sa.Engine) -> None:
    """Take the steps that are missing, all of them or none.

    Raises:
        StorageUnavailable: the record was written by a newer version.
    """
    if _revision(engine) == _newest():
        return
    from service.database.migrations.steps import (  # noqa: PLC0415 - Alembic is slow to load, and rarely needed
        take_steps,
    )

    take_steps(engine)


def _revision(engine: sa.Engine) -> str | None:
    """The revision that Alembic noted in the record, None in a new one."""
    with engine.connect() as connection:
        if not sa.inspect(connection).has_table("alembic_version"):
            return None
        found = connection.scalar(sa.text("SELECT version_num FROM alembic_version"))
        return None if found is None else str(found)


def _newest() -> str:
    """The revision of the last step; their files are named by it: `0002_comparison.py`."""
    return max(path.name.partition("_")[0] for path in STEPS.glob("[0-9]*_*.py"))
