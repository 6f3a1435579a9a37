"""Moments as people type them: a date or a time of day, in UTC unless a zone is named."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

import typer


def read_moment(text: str) -> datetime:
    """Read an ISO 8601 date, or date and time, as a moment in UTC; one without a zone is in UTC already.

    Raises:
        typer.BadParameter: It does not read so. A number is none: 2026 would be a second of 1970.
    """
    try:
        moment = datetime.fromisoformat(text)
        return moment.replace(tzinfo=UTC) if moment.tzinfo is None else moment.astimezone(UTC)
    except (ValueError, OverflowError):
        raise typer.BadParameter(f"{text!r} is no moment: type 2026-05-01 or 2026-05-01T10:00:00Z, say") from None


def moment_option(about: str) -> Any:
    """Make an option that takes a moment."""
    return typer.Option(help=f"{about} In UTC unless it names a zone.", parser=read_moment, metavar="MOMENT")
