"""Outcomes of enrolments, kept for a while so that a repeated request is answered and enrols nothing.

An outcome is kept as JSON in the transaction of its enrolment, with the version of its form and the subject's id. It
is all that a repetition needs: nothing else is read.
"""

from __future__ import annotations

import json
from dataclasses import replace
from datetime import datetime
from typing import Final

import sqlalchemy as sa
from pydantic import TypeAdapter

from service.database.errors import StorageUnavailable
from service.database.schema import now
from service.database.schema import replies as table
from service.gallery.errors import IdempotencyConflict
from service.gallery.records import Enrolment, Idempotency, KeptReply

VERSION: Final = 1

_ADAPTER = TypeAdapter(Enrolment)


def keep(connection: sa.Connection, idempotency: Idempotency, outcome: Enrolment, until: datetime) -> None:
    """Keep an outcome under its request's key, and drop those whose time is up."""
    text = json.dumps({"version": VERSION, "enrolment": _ADAPTER.dump_python(outcome, mode="json")})
    connection.execute(sa.delete(table).where(table.c.expires_at <= now()))
    connection.execute(
        sa.insert(table).values(
            principal=idempotency.principal,
            key=idempotency.key,
            fingerprint=idempotency.fingerprint,
            reply="",
            outcome=text,
            subject_id=outcome.subject.id,
            expires_at=until,
        )
    )


def recall(connection: sa.Connection, idempotency: Idempotency) -> Enrolment | KeptReply | None:
    """Find the outcome kept of a request; None when the request is new.

    Raises:
        IdempotencyConflict: the key named another request.
        StorageUnavailable: a newer version kept it in another form.
    """
    kept = connection.execute(
        sa.select(table.c.fingerprint, table.c.reply, table.c.outcome).where(
            table.c.principal == idempotency.principal, table.c.key == idempotency.key, table.c.expires_at > now()
        )
    ).one_or_none()
    if kept is None:
        return None
    if kept.fingerprint != idempotency.fingerprint:
        raise IdempotencyConflict(idempotency.key)
    if kept.outcome is None:
        return KeptReply(str(kept.reply))
    values = json.loads(kept.outcome)
    if values["version"] != VERSION:
        raise StorageUnavailable("The answer to this request was kept by another version of Facet.")
    return replace(_ADAPTER.validate_python(values["enrolment"]), replayed=True)
