"""One enrolment, as a job of the writer: duplicate check, records, templates and the kept outcome, all or nothing."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime, timedelta
from typing import Any

import numpy as np
import sqlalchemy as sa

from service.database.encryption import Keyring, crop_place
from service.database.errors import StorageBusy
from service.database.schema import collections, crops, faces, new_id, now, subjects
from service.database.transaction import Transaction, is_taken, serialise
from service.gallery import queries
from service.gallery.changes import kept_outcomes
from service.gallery.changes.insertion import FaceRow, claim_model, insert_template, row_of
from service.gallery.changes.subjects import erase_expired
from service.gallery.errors import CollectionNotFound, DuplicateSubject, FaceExists
from service.gallery.names import check_name
from service.gallery.records import (
    DuplicateCheck,
    DuplicatePolicy,
    Enrolment,
    Face,
    Hit,
    Idempotency,
    KeptReply,
    NewFace,
    Subject,
)
from service.index import normalised, vectors
from service.index.base import CandidateList, Matrix, Place, Vector, VectorIndex, distinct
from service.index.changes import Added, IndexChange
from service.index.errors import VectorInvalid
from service.index.scoring import Scoring
from service.index.stored_templates import TemplateReader
from service.measures.matching import matches

DUPLICATES_SHOWN = 5


# Made once: an enrolment that built its statements anew would spend most of its time on that.
_COLLECTION = sa.select(collections.c.row, collections.c.keep_crops).where(collections.c.name == sa.bindparam("name"))
_SUBJECT = (
    sa.select(subjects)
    .where(subjects.c.collection_row == sa.bindparam("in_collection"), subjects.c.name == sa.bindparam("name"))
    .with_for_update(key_share=True)  # what is not given stays as whoever changes it at the same moment leaves it
)
_FACES = sa.select(sa.func.count()).where(faces.c.subject_row == sa.bindparam("of_subject"))
_TOUCH_SUBJECT = (
    sa.update(subjects)
    .where(subjects.c.row == sa.bindparam("at_row"))
    .values(
        metadata=sa.bindparam("new_metadata"), expires_at=sa.bindparam("new_expiry"), updated_at=sa.bindparam("now")
    )
)
_NEW_SUBJECT, _NEW_FACE, _NEW_CROP = sa.insert(subjects), sa.insert(faces), sa.insert(crops)


class Enroll:
    """The job. Vectors are checked and rounded when it is made, on the caller's thread."""

    def __init__(
        self,
        index: VectorIndex,
        keyring: Keyring,
        reader: TemplateReader,
        collection: str,
        subject: str,
        new_faces: Sequence[NewFace],
        *,
        metadata: Mapping[str, Any] | None,
        expires_at: datetime | None,
        duplicate: DuplicateCheck | None,
        idempotency: Idempotency | None,
        report: Mapping[str, Any] | None,
        keep_reply: timedelta,
    ) -> None:
        """Check what can be checked without the database.

        Raises:
            VectorInvalid: A template is not a finite unit vector, or there is none.
            NameInvalid: The subject cannot have this name.
        """
        if not new_faces or any(not face.templates for face in new_faces):
            raise VectorInvalid("An enrolment needs at least one face, and each face at least one template.")
        self._index, self._keyring, self._reader = index, keyring, reader
        self._collection, self._subject = collection, check_name("subject", subject)
        self._faces = new_faces
        self._metadata, self._expires_at = metadata, expires_at
        self._duplicate = None if duplicate is None or duplicate.policy == DuplicatePolicy.ALLOW else duplicate
        self._idempotency = idempotency
        self._report, self._keep_reply = report, keep_reply
        self.erased = False
        """Whether somebody who had the name and has expired was erased."""
        self._stored = [
            {
                digest: vectors.stored_form(vectors.check(vector[None], None)[0])
                for digest, vector in face.templates.items()
            }
            for face in new_faces
        ]

    def __call__(self, transaction: Transaction[IndexChange]) -> Enrolment:
        """Do it, or give the outcome kept of the same request.

        Raises:
            CollectionNotFound: There is no collection of that name.
            DuplicateSubject: The face belongs to another subject, and the policy is to reject.
            FaceExists: A face of that id is enrolled already.
            IdempotencyConflict: The key named another request.
            VectorInvalid: Not finite unit vectors of the model's dimension.
            StorageBusy: An earlier version has answered the same request a moment ago, in another process.
        """
        connection = transaction.connection
        if self._idempotency is not None:
            kept = kept_outcomes.recall(connection, self._idempotency)
            if isinstance(kept, KeptReply):
                raise StorageBusy
            if kept is not None:
                return kept
        place = connection.execute(_COLLECTION, {"name": self._collection}).one_or_none()
        if place is None:
            raise CollectionNotFound(self._collection)
        if queries.has_expired(connection, place.row, self._subject):
            erase_expired(transaction, self._collection, self._subject)
            self.erased = True
        at = now()
        subject_row, subject, created = self._claim_subject(connection, place.row, at)
        duplicates = self._find_duplicates(transaction, place.row, subject_row)
        if duplicates and self._duplicate is not None and self._duplicate.policy == DuplicatePolicy.REJECT:
            raise DuplicateSubject(duplicates)
        for face, stored in zip(self._faces, self._stored, strict=True):
            self._insert_face(transaction, place.row, subject_row, face, stored, at, place.keep_crops)
        outcome = Enrolment(
            subject,
            tuple(self._recorded(face, subject, at) for face in self._faces),
            created,
            duplicates,
            request_id="" if self._idempotency is None else self._idempotency.request_id,
            report=self._report,
        )
        if self._idempotency is not None:
            kept_outcomes.keep(connection, self._idempotency, outcome, now() + self._keep_reply)
        return outcome

    def _claim_subject(self, connection: sa.Connection, collection_row: int, at: datetime) -> tuple[int, Subject, bool]:
        """The row of the subject, the subject as it will be, and whether it is new."""
        row = connection.execute(_SUBJECT, {"in_collection": collection_row, "name": self._subject}).one_or_none()
        if row is None:
            subject = Subject(
                new_id(),
                self._collection,
                self._subject,
                dict(self._metadata or {}),
                at,
                at,
                len(self._faces),
                self._expires_at,
            )
            values = {
                "id": subject.id,
                "collection_row": collection_row,
                "name": subject.name,
                "metadata": subject.metadata,
                "created_at": at,
                "updated_at": at,
                "expires_at": self._expires_at,
            }
            return row_of(connection.execute(_NEW_SUBJECT, values)), subject, True
        metadata = row.metadata if self._metadata is None else dict(self._metadata)
        expiry = self._expires_at or row.expires_at
        connection.execute(
            _TOUCH_SUBJECT, {"at_row": row.row, "new_metadata": metadata, "new_expiry": expiry, "now": at}
        )
        faces_now = int(connection.scalar(_FACES, {"of_subject": row.row}) or 0) + len(self._faces)
        subject = Subject(row.id, self._collection, self._subject, metadata, row.created_at, at, faces_now, expiry)
        return int(row.row), subject, False

    def _recorded(self, face: NewFace, subject: Subject, at: datetime) -> Face:
        return Face(
            id=face.id,
            collection=self._collection,
            subject_id=subject.id,
            subject=subject.name,
            created_at=at,
            quality=dict(face.quality),
            box=tuple(face.box),
            landmarks=tuple(face.landmarks),
            source_sha256=face.source_sha256,
            models=tuple(face.templates),
        )

    def _find_duplicates(
        self,
        transaction: Transaction[IndexChange],
        collection_row: int,
        subject_row: int,
        depth: int = DUPLICATES_SHOWN + 1,
    ) -> tuple[Hit, ...]:
        """Other subjects at or above the threshold, best first: in the index, and in this same commit before us.

        `depth` is how many the index is asked for; more, where those who have expired may hide others.
        """
        check = self._duplicate
        if check is None:
            return ()
        probes = [face.templates[check.digest] for face in self._faces if check.digest in face.templates]
        if not probes:
            return ()
        matrix = vectors.check(np.stack(probes), None)
        # Before anything is read that counts: even that a model has no templates may have changed while we waited.
        serialise(transaction.connection, f"collection {collection_row}")
        model_rows = {
            digest: queries.model_row(transaction.connection, digest) for digest in check.references or (check.digest,)
        }
        known = [digest for digest, row in model_rows.items() if row is not None]
        rows_of_models = [row for row in model_rows.values() if row is not None]
        scorings = [check.scoring(digest, matrix, check.threshold) for digest in known]
        results = [
            result
            for model_row, scoring in zip(rows_of_models, scorings, strict=True)
            for result in self._search(transaction.connection, (collection_row, model_row), matrix, depth, scoring)
        ]
        rows = [row for result in results for row in result.rows.tolist()]
        groups = [group for result in results for group in result.groups.tolist()]
        scores = [score for result in results for score in result.scores.tolist()]
        for other in transaction.pending:
            if isinstance(other, Added) and other.collection == collection_row and other.model in rows_of_models:
                rows.append(other.row)
                groups.append(other.subject)
                scored = matrix @ other.vector
                if (scoring := scorings[rows_of_models.index(other.model)]) is not None:
                    scored = scored + scoring.own + scoring.offsets(other.vector[None])[0]
                scores.append(float(scored.max()))
        best = distinct(np.array(rows, np.int64), np.array(groups, np.int64), np.array(scores, np.float32), len(rows))
        match = (best.groups != subject_row) & matches(best.scores, check.threshold)
        others = CandidateList(best.rows[match], best.groups[match], best.scores[match])
        by_digest = dict(zip(known, scorings, strict=True))
        (hits,), damaged, _ = queries.hits(
            transaction.connection,
            [others],
            [lambda stored, digest: _best(stored, matrix, by_digest[digest])],
            self._reader,
        )
        if damaged:  # they may hide another face of the same person
            for model_row in rows_of_models:
                self._index.leave_out((collection_row, model_row), damaged)
            return self._find_duplicates(transaction, collection_row, subject_row, depth)
        if len(hits) < len(others.rows) and any(len(result.rows) >= depth for result in results):
            return self._find_duplicates(transaction, collection_row, subject_row, 2 * depth)
        still = matches(np.array([hit.score for hit in hits], np.float32), check.threshold)
        return tuple(hit for hit, is_match in zip(hits, still.tolist(), strict=True) if is_match)[:DUPLICATES_SHOWN]

    def _search(
        self, connection: sa.Connection, place: Place, matrix: Matrix, depth: int, scoring: Scoring | None
    ) -> list[CandidateList]:
        if scoring is None:
            return self._index.search(connection, place, matrix, depth)
        dim = matrix.shape[1]
        return normalised.search(connection, self._index, self._reader, place, dim, matrix, depth, scoring).results

    def _insert_face(
        self,
        transaction: Transaction[IndexChange],
        collection_row: int,
        subject_row: int,
        face: NewFace,
        stored: Mapping[str, Vector],
        at: datetime,
        keep_crop: bool,
    ) -> None:
        values = {
            "id": face.id,
            "collection_row": collection_row,
            "subject_row": subject_row,
            "created_at": at,
            "quality": {name: float(value) for name, value in face.quality.items()},
            "box": [float(value) for value in face.box],
            "landmarks": [[float(x), float(y)] for x, y in face.landmarks],
            "source_sha256": face.source_sha256,
        }
        try:
            face_row = row_of(transaction.connection.execute(_NEW_FACE, values))
        except sa.exc.IntegrityError as error:
            if not is_taken(error):  # the subject or the collection is just being erased
                raise
            raise FaceExists(face.id) from None
        place = FaceRow(face_row, collection_row, subject_row)
        for digest, vector in stored.items():
            model_row = claim_model(transaction.connection, self._index.models, digest, len(vector))
            insert_template(transaction, self._keyring, place, model_row, vector)
        if keep_crop and face.crop is not None:
            data, key_id = self._keyring.seal(face.crop, crop_place(face_row))
            transaction.connection.execute(_NEW_CROP, {"face_row": face_row, "key_id": key_id, "data": data})


def _best(stored: Vector, probes: Matrix, scoring: Scoring | None) -> float:
    """The highest score of a template with any of the probes."""
    scores = probes @ stored
    if scoring is not None:
        scores = scores + scoring.own + scoring.offsets(stored[None])[0]
    return float(scores.max())
