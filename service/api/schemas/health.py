"""Replies about the service itself."""

from __future__ import annotations

from typing import Literal

from service.api.schemas.reply import Reply


class Health(Reply):
    """How the service is."""

    status: Literal["alive", "ready"]
    version: str
