"""One enrolment, as a job of the writer: duplicate check, records, templates and the kept reply, all or nothing."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from datetime import timedelta
from typing import Any

import numpy as np
import sqlalchemy as sa

from service.gallery import queries, vectors
from service.gallery.changes import check_name
from service.gallery.effects import Added, Effect
from service.gallery.errors import DuplicateSubject, FaceExists, IdempotencyConflict, VectorInvalid
from service.gallery.index import Found, distinct
from service.gallery.records import (
    DuplicateCheck,
    DuplicatePolicy,
    Enrolment,
    Hit,
    Idempotency,
    NewFace,
    Vector,
    new_id,
)
from service.gallery.schema import collections, crops, faces, models, now, replies, subjects, templates
from service.gallery.shelf import Shelf
from service.gallery.writer import Turn

DUPLICATES_SHOWN = 5


def recall_reply(connection: sa.Connection, idempotency: Idempotency) -> str | None:
    """The reply kept for a request, or None when it is new.

    Raises:
        IdempotencyConflict: the key named another request.
    """
    found = connection.execute(
        sa.select(replies.c.fingerprint, replies.c.reply).where(
            replies.c.principal == idempotency.principal, replies.c.key == idempotency.key, replies.c.expires_at > now()
        )
    ).one_or_none()
    if found is None:
        return None
    if found.fingerprint != idempotency.fingerprint:
        raise IdempotencyConflict(idempotency.key)
    return str(found.reply)


class Enroll:
    """The job. Vectors are checked and rounded when it is made, on the caller's thread."""

    def __init__(
        self,
        shelf: Shelf,
        collection: str,
        subject: str,
        new_faces: Sequence[NewFace],
        *,
        metadata: Mapping[str, Any] | None,
        duplicate: DuplicateCheck | None,
        idempotency: Idempotency | None,
        reply: Callable[[Enrolment], str],
        keep_reply: timedelta,
    ) -> None:
        """Raises VectorInvalid or NameInvalid for what can be refused without the record."""
        if not new_faces or any(not face.templates for face in new_faces):
            raise VectorInvalid("An enrolment needs at least one face, and each face at least one template.")
        self._shelf = shelf
        self._collection, self._subject = collection, check_name("subject", subject)
        self._faces = new_faces
        self._metadata = metadata
        self._duplicate = None if duplicate is None or duplicate.policy == DuplicatePolicy.ALLOW else duplicate
        self._idempotency = idempotency
        self._reply, self._keep_reply = reply, keep_reply
        self._packed = [
            {digest: vectors.pack(vectors.check(vector[None], None)[0]) for digest, vector in face.templates.items()}
            for face in new_faces
        ]

    def __call__(self, turn: Turn[Effect]) -> Enrolment:
        """Do it.

        Raises:
            CollectionNotFound, DuplicateSubject, FaceExists, IdempotencyConflict, VectorInvalid.
        """
        connection = turn.connection
        if self._idempotency is not None:
            kept = recall_reply(connection, self._idempotency)
            if kept is not None:
                return Enrolment(None, (), False, (), kept, replayed=True)
        collection_row = queries.collection_row(connection, self._collection)
        keeps = connection.scalar(sa.select(collections.c.keep_crops).where(collections.c.row == collection_row))
        subject_row, created = self._claim_subject(connection, collection_row)
        duplicates = self._find_duplicates(turn, collection_row, subject_row)
        if duplicates and self._duplicate is not None and self._duplicate.policy == DuplicatePolicy.REJECT:
            raise DuplicateSubject(duplicates)
        face_rows = [
            self._insert_face(turn, collection_row, subject_row, face, packed, bool(keeps))
            for face, packed in zip(self._faces, self._packed, strict=True)
        ]
        outcome = Enrolment(
            queries.subject(connection, self._collection, self._subject),
            tuple(queries.faces_by_row(connection, face_rows)),
            created,
            duplicates,
        )
        outcome = replace(outcome, reply=self._reply(outcome))
        if self._idempotency is not None:
            self._keep(connection, self._idempotency, outcome.reply)
        return outcome

    def _claim_subject(self, connection: sa.Connection, collection_row: int) -> tuple[int, bool]:
        found = connection.scalar(
            sa.select(subjects.c.row).where(
                subjects.c.collection_row == collection_row, subjects.c.name == self._subject
            )
        )
        if found is None:
            inserted = connection.execute(
                sa.insert(subjects).values(
                    id=new_id(),
                    collection_row=collection_row,
                    name=self._subject,
                    metadata=dict(self._metadata or {}),
                    created_at=now(),
                    updated_at=now(),
                )
            )
            return _row_of(inserted), True
        values: dict[str, Any] = {"updated_at": now()}
        if self._metadata is not None:
            values["metadata"] = dict(self._metadata)
        connection.execute(sa.update(subjects).where(subjects.c.row == found).values(**values))
        return int(found), False

    def _find_duplicates(self, turn: Turn[Effect], collection_row: int, subject_row: int) -> tuple[Hit, ...]:
        """Other subjects at or above the threshold, best first: in the index, and in this same commit before us."""
        check = self._duplicate
        if check is None:
            return ()
        model = queries.model_row(turn.connection, check.digest)
        probes = [face.templates[check.digest] for face in self._faces if check.digest in face.templates]
        if model is None or not probes:
            return ()
        matrix = vectors.check(np.stack(probes), None)
        index = self._shelf.get((collection_row, model))
        found = index.search(matrix, DUPLICATES_SHOWN + 1) if index is not None else []
        rows = [row for one in found for row in one.rows.tolist()]
        groups = [group for one in found for group in one.groups.tolist()]
        scores = [score for one in found for score in one.scores.tolist()]
        for other in turn.pending:
            if isinstance(other, Added) and (other.collection, other.model) == (collection_row, model):
                rows.append(other.row)
                groups.append(other.subject)
                scores.append(float((matrix @ other.vector).max()))
        best = distinct(np.array(rows, np.int64), np.array(groups, np.int64), np.array(scores, np.float32), len(rows))
        match = (best.groups != subject_row) & (best.scores >= check.threshold)
        others = Found(best.rows[match], best.groups[match], best.scores[match])
        return tuple(queries.hits(turn.connection, check.digest, [others])[0][:DUPLICATES_SHOWN])

    def _insert_face(
        self,
        turn: Turn[Effect],
        collection_row: int,
        subject_row: int,
        face: NewFace,
        packed: Mapping[str, bytes],
        keep_crop: bool,
    ) -> int:
        try:
            inserted = turn.connection.execute(
                sa.insert(faces).values(
                    id=face.id,
                    collection_row=collection_row,
                    subject_row=subject_row,
                    created_at=now(),
                    quality={name: float(value) for name, value in face.quality.items()},
                    box=[float(value) for value in face.box],
                    landmarks=[[float(x), float(y)] for x, y in face.landmarks],
                    source_sha256=face.source_sha256,
                )
            )
        except sa.exc.IntegrityError:
            raise FaceExists(face.id) from None
        face_row = _row_of(inserted)
        for digest, blob in packed.items():
            vector = vectors.unpack([blob], len(blob) // 2)[0].astype(np.float32)
            self._insert_template(turn, collection_row, subject_row, face_row, digest, blob, vector)
        if keep_crop and face.crop is not None:
            turn.connection.execute(sa.insert(crops).values(face_row=face_row, key_id=None, data=face.crop))
        return face_row

    def _insert_template(
        self,
        turn: Turn[Effect],
        collection_row: int,
        subject_row: int,
        face_row: int,
        digest: str,
        blob: bytes,
        vector: Vector,
    ) -> None:
        model = turn.connection.execute(
            sa.select(models.c.row, models.c.dim).where(models.c.digest == digest)
        ).one_or_none()
        if model is None:
            inserted = turn.connection.execute(sa.insert(models).values(digest=digest, dim=len(vector)))
            model_row = _row_of(inserted)
        else:
            model_row = int(model.row)
            vectors.check(vector[None], model.dim)
        inserted = turn.connection.execute(
            sa.insert(templates).values(
                face_row=face_row,
                model_row=model_row,
                collection_row=collection_row,
                subject_row=subject_row,
                key_id=None,
                vector=blob,
            )
        )
        turn.effects.append(Added(collection_row, model_row, _row_of(inserted), subject_row, vector))

    def _keep(self, connection: sa.Connection, idempotency: Idempotency, reply: str) -> None:
        connection.execute(sa.delete(replies).where(replies.c.expires_at <= now()))
        connection.execute(
            sa.insert(replies).values(
                principal=idempotency.principal,
                key=idempotency.key,
                fingerprint=idempotency.fingerprint,
                reply=reply,
                expires_at=now() + self._keep_reply,
            )
        )


def _row_of(inserted: sa.CursorResult[Any]) -> int:
    key = inserted.inserted_primary_key
    assert key is not None  # noqa: S101 - the tables have one
    return int(key[0])
