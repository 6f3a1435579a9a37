"""Replies about the audit log."""

from __future__ import annotations

from datetime import datetime

from pydantic import ConfigDict, Field

from service.api.schemas.reply import Reply


class AuditRecord(Reply):
    """Who did what to whom; ids only, and nothing biometric."""

    model_config = ConfigDict(from_attributes=True)

    row: int = Field(description="Number of the entry; a later one is higher.")
    at: datetime
    request_id: str
    principal: str = Field(
        description="`key:` and the key's id, `address:` of a caller without one, `command:` and a user of the "
        "machine, or `expiry` where a person's date had come."
    )
    action: str
    outcome: str = Field(description="What was decided or done, or the code of the problem.")
    collection: str | None
    model: str | None
    threshold: float | None
    target: str | None = Field(description="The id of whom or what it concerned: a subject, a face, a job, a key.")
