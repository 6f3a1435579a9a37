"""Outcomes of enrolments and mergers, kept for a while so that a repeated request is answered and enrols nothing.

An outcome is kept as JSON in the transaction that it is of, with the version of its form and the subject's id. It
is all that a repetition needs, but for the names of other people: they are kept by id, and named when they are told, so
that nothing of somebody erased stands among what is kept of others.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Sequence
from dataclasses import replace
from datetime import datetime
from typing import Any, Final

import sqlalchemy as sa
from pydantic import TypeAdapter

from service.database.errors import StorageUnavailable
from service.database.schema import now, subjects
from service.database.schema import replies as table
from service.gallery.errors import EnrolmentErased, IdempotencyConflict
from service.gallery.queries import LIVING
from service.gallery.records import Enrolment, Hit, Idempotency, KeptReply, Merger

VERSION: Final = 1

_ENROLMENT, _MERGER = TypeAdapter(Enrolment), TypeAdapter(Merger)


def keep(connection: sa.Connection, idempotency: Idempotency, outcome: Enrolment | Merger, until: datetime) -> None:
    """Keep an outcome under its request's key, and drop those whose time is up."""
    if isinstance(outcome, Merger):
        document = {"merger": _MERGER.dump_python(outcome, mode="json")}
    else:
        unnamed = replace(outcome, duplicates=tuple(replace(hit, subject="") for hit in outcome.duplicates))
        document = {"enrolment": _ENROLMENT.dump_python(unnamed, mode="json")}
    text = json.dumps({"version": VERSION, **document})
    prune(connection)
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


def prune(connection: sa.Connection) -> int:
    """Drop outcomes whose time is up; returns how many."""
    return connection.execute(sa.delete(table).where(table.c.expires_at <= now())).rowcount


def erase(
    connection: sa.Connection, subject_ids: Sequence[str] | sa.Select[tuple[str]], face_id: str | None = None
) -> None:
    """Drop what was kept of people, or of one face of a person; that the requests were made stays known.

    An answer that a version before outcomes kept is looked through for the person's id.
    """
    ids = set(subject_ids if isinstance(subject_ids, Sequence) else connection.scalars(subject_ids))
    own = table.c.subject_id.in_(subject_ids)
    kept = connection.execute(
        sa.select(table).where(sa.or_(own, sa.and_(table.c.outcome.is_(None), table.c.reply != "")))
    ).all()
    for entry in kept:
        if entry.outcome is None:
            concerned = any(subject_id in entry.reply for subject_id in ids)
        else:
            concerned = face_id is None or f'"{face_id}"' in entry.outcome
        if concerned:
            same = sa.and_(table.c.principal == entry.principal, table.c.key == entry.key)
            values = {"key": _hidden(entry.key), "fingerprint": "", "reply": "", "outcome": None, "subject_id": None}
            connection.execute(sa.update(table).where(same).values(**values))


def _hidden(key: str) -> str:
    """Return what stands for the key of a request about somebody erased: it may have held a name."""
    return f"erased:{hashlib.sha256(key.encode()).hexdigest()}"


def recall(connection: sa.Connection, idempotency: Idempotency) -> Enrolment | KeptReply | None:
    """Find the outcome kept of an enrolment's request; None when the request is new.

    Raises:
        IdempotencyConflict: the key named another request.
        EnrolmentErased: what the request enrolled was erased since.
        StorageUnavailable: a newer version kept it in another form.
    """
    kept = _recall(connection, idempotency)
    if kept is None or isinstance(kept, KeptReply):
        return kept
    outcome = _ENROLMENT.validate_python(kept["enrolment"])
    return replace(outcome, duplicates=_named(connection, outcome.duplicates), replayed=True)


def _named(connection: sa.Connection, hits: tuple[Hit, ...]) -> tuple[Hit, ...]:
    """Return those of the people who are still there, by the names that they have now."""
    if not hits:
        return ()
    query = sa.select(subjects.c.id, subjects.c.name).where(subjects.c.id.in_([hit.subject_id for hit in hits]), LIVING)
    names = {row.id: row.name for row in connection.execute(query)}
    return tuple(replace(hit, subject=names[hit.subject_id]) for hit in hits if hit.subject_id in names)


def recall_merger(connection: sa.Connection, idempotency: Idempotency) -> Merger | None:
    """Do the same for the request of a merger."""
    kept = _recall(connection, idempotency)
    if kept is None:
        return None
    if isinstance(kept, KeptReply):
        raise IdempotencyConflict(idempotency.key)
    return replace(_MERGER.validate_python(kept["merger"]), replayed=True)


def reassign(connection: sa.Connection, subject_id: str, into: str) -> None:
    """Keep with another person what was kept of somebody who is no more, to be dropped when that person is erased."""
    connection.execute(sa.update(table).where(table.c.subject_id == subject_id).values(subject_id=into))


def _recall(connection: sa.Connection, idempotency: Idempotency) -> dict[str, Any] | KeptReply | None:
    kept = connection.execute(
        sa.select(table.c.fingerprint, table.c.reply, table.c.outcome).where(
            table.c.principal == idempotency.principal,
            table.c.key.in_((idempotency.key, _hidden(idempotency.key))),
            table.c.expires_at > now(),
        )
    ).first()
    if kept is None:
        return None
    if kept.outcome is None and not kept.reply:
        raise EnrolmentErased
    if kept.fingerprint != idempotency.fingerprint:
        raise IdempotencyConflict(idempotency.key)
    if kept.outcome is None:
        return KeptReply(str(kept.reply))
    values = json.loads(kept.outcome)
    if values["version"] != VERSION:
        raise StorageUnavailable("The answer to this request was kept by another version of Facet.")
    return dict(values)
