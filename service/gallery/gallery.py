"""The gallery: who is enrolled, in a database that no crash can hurt and an index that follows it."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from datetime import datetime, timedelta
from functools import partial
from typing import Any, TypeVar

import numpy as np
import sqlalchemy as sa
from numpy.typing import NDArray

from service.database import paging
from service.database.base import Database
from service.database.encryption import Keyring, crop_place
from service.database.errors import ErasureUnfinished, StorageError
from service.database.paging import Page
from service.database.schema import crops, faces
from service.database.schema import store as facts
from service.database.transaction import Transaction
from service.gallery import comparison, queries
from service.gallery.changes import collections, kept_outcomes, subjects
from service.gallery.changes.enrolment import Enroll
from service.gallery.counts import Counts
from service.gallery.records import (
    Collection,
    DuplicateCheck,
    Enrolment,
    Face,
    Hit,
    Idempotency,
    Keep,
    KeptReply,
    NewFace,
    Receipt,
    Subject,
)
from service.gallery.verification import Report, verify
from service.index.base import Compactable, Erasable, Vector, VectorIndex
from service.index.changes import IndexChange
from service.index.scoring import Scoring
from service.index.stored_templates import TemplateReader

T = TypeVar("T")
KEEP_REPLY = timedelta(hours=24)


Observe = Callable[[str, float], None]
"""Told what was done and the seconds it took: `read`, `change` and `search` as a caller waits for them, `index` for the
index's part of a search, `carry` for some changes brought to an index outside the database."""


Note = Callable[[Receipt], None]
"""Told of an erasure as soon as it is committed, before the files are cleaned."""


def unobserved(_: str, __: float) -> None:
    """Tell nobody."""


NoteExpiry = Callable[[Receipt, str], None]
"""Told of the erasure of somebody expired, and of the collection."""


def unnoted_expiry(_: Receipt, __: str) -> None:
    """Tell nobody of an expiry."""


def unnoted(_: Receipt) -> None:
    """Tell nobody of an erasure."""


class Gallery:
    """People and templates in a database and its index; `open_embedded` and `open_replicated` make one.

    Every method may be called from any thread. A method that changes something returns once the change is durable and
    visible to the next search. Any method raises StorageError's kinds when the store or an engine fails.
    """

    def __init__(
        self,
        database: Database[IndexChange],
        index: VectorIndex,
        *,
        keyring: Keyring,
        reader: TemplateReader,
        keep_reply: timedelta = KEEP_REPLY,
        observe: Observe = unobserved,
    ) -> None:
        """Take over `database` and `index`, which are ready to be used.

        Args:
            database: Keeps everything.
            index: Derived from it.
            keyring: Seals and opens templates and crops.
            reader: Opens templates, and knows which are damaged.
            keep_reply: How long outcomes are kept for repeated requests.
            observe: Told how long each read, change and search took.
        """
        self.database, self.index = database, index
        self._keyring, self._reader = keyring, reader
        self._keep_reply, self._observe = keep_reply, observe
        self._note_expiry: NoteExpiry = unnoted_expiry
        self.counts = Counts(index, self._read)

    # ---- collections

    def create_collection(
        self,
        name: str,
        *,
        keep_crops: bool = False,
        metadata: Mapping[str, Any] | None = None,
        quality: str | None = None,
    ) -> Collection:
        """Make a new, empty collection.

        Raises:
            NameInvalid: The name cannot be given.
            CollectionExists: The name is taken.
        """
        return self.change(
            partial(
                collections.create_collection,
                name=name,
                keep_crops=keep_crops,
                metadata=metadata or {},
                quality=quality,
            )
        )

    def collection(self, name: str) -> Collection:
        """Return one collection.

        Raises:
            CollectionNotFound: There is no collection of that name.
        """
        return self._read(partial(queries.collection, name=name))

    def collections(
        self, cursor: str | None = None, limit: int = 100, reachable: frozenset[str] | None = None
    ) -> Page[Collection]:
        """Return collections in the order of their making: all, or those named.

        Raises:
            CursorInvalid: The cursor was not made by this list.
        """
        return self._page(partial(queries.list_collections, reachable=reachable), cursor, limit)

    def delete_collection(self, name: str, note: Note = unnoted) -> Receipt:
        """Erase a collection with everything in it.

        Raises:
            CollectionNotFound: There is no collection of that name.
        """
        receipt = self.change(partial(collections.delete_collection, name=name))
        self._finish_erasure([receipt], note)
        return receipt

    # ---- subjects and faces

    def subject(self, collection: str, name: str) -> Subject:
        """Return one subject.

        Raises:
            CollectionNotFound: There is no collection of that name.
            SubjectNotFound: The collection has no subject of that name.
        """
        return self._read(partial(queries.subject, collection=collection, name=name))

    def subjects(self, collection: str, cursor: str | None = None, limit: int = 100, prefix: str = "") -> Page[Subject]:
        """Return subjects, oldest first, those whose name begins so.

        Raises:
            CollectionNotFound: There is no collection of that name.
            CursorInvalid: The cursor was not made by this list.
        """

        def read(connection: sa.Connection, after: int, limit: int) -> list[tuple[int, Subject]]:
            return queries.list_subjects(connection, collection, after, limit, prefix)

        return self._page(read, cursor, limit)

    def update_subject(
        self,
        collection: str,
        name: str,
        new_name: str | None = None,
        metadata: Mapping[str, Any] | None = None,
        expires_at: datetime | Keep | None = Keep.KEEP,
    ) -> Subject:
        """Rename, replace the metadata, set or lift (None) the date at which the subject is erased.

        Raises:
            CollectionNotFound: There is no collection of that name.
            SubjectNotFound: The collection has no subject of that name.
            SubjectExists: The name is another subject's.
            NameInvalid: The name cannot be given.
        """
        return self.change(
            partial(
                subjects.update_subject,
                collection=collection,
                name=name,
                new_name=new_name,
                metadata=metadata,
                expires_at=expires_at,
            )
        )

    def delete_subject(self, collection: str, name: str, note: Note = unnoted) -> Receipt:
        """Erase a subject with all its faces.

        Raises:
            CollectionNotFound: There is no collection of that name.
            SubjectNotFound: The collection has no subject of that name.
        """
        receipt = self.change(partial(subjects.delete_subject, collection=collection, name=name))
        self._finish_erasure([receipt], note)
        return receipt

    def delete_subjects(self, collection: str, note: Note = unnoted) -> tuple[Receipt, int]:
        """Erase all subjects of a collection, which stays; returns also how many these were.

        Raises:
            CollectionNotFound: There is no collection of that name.
        """
        receipt, gone = self.change(partial(subjects.delete_subjects, collection=collection))
        self._finish_erasure([receipt], note)
        return receipt, gone

    def faces(self, collection: str, subject: str, cursor: str | None = None, limit: int = 100) -> Page[Face]:
        """Return faces of a subject, oldest first.

        Raises:
            CollectionNotFound: There is no collection of that name.
            SubjectNotFound: The collection has no subject of that name.
            CursorInvalid: The cursor was not made by this list.
        """

        def read(connection: sa.Connection, after: int, limit: int) -> list[tuple[int, Face]]:
            return queries.list_faces(connection, collection, subject, after, limit)

        return self._page(read, cursor, limit)

    def face(self, collection: str, face_id: str) -> Face:
        """Return one face.

        Raises:
            CollectionNotFound: There is no collection of that name.
            FaceNotFound: The collection has no face of that id.
        """
        return self._read(partial(queries.face, collection=collection, face_id=face_id))

    def crop(self, collection: str, face_id: str) -> bytes | None:
        """Return the crop kept of a face, None when its collection keeps none.

        Raises:
            CollectionNotFound: There is no collection of that name.
            FaceNotFound: The collection has no face of that id.
        """
        keyring = self._keyring

        def read(connection: sa.Connection) -> bytes | None:
            queries.face(connection, collection, face_id)
            query = sa.select(crops).join(faces, crops.c.face_row == faces.c.row).where(faces.c.id == face_id)
            crop = connection.execute(query).one_or_none()
            return None if crop is None else keyring.open(crop.data, crop.key_id, crop_place(crop.face_row))

        return self._read(read)

    def delete_face(self, collection: str, face_id: str, note: Note = unnoted) -> Receipt:
        """Erase one face; its subject stays.

        Raises:
            CollectionNotFound: There is no collection of that name.
            FaceNotFound: The collection has no face of that id.
        """
        receipt = self.change(partial(subjects.delete_face, collection=collection, face_id=face_id))
        self._finish_erasure([receipt], note)
        return receipt

    def delete_faces(
        self, collection: str, face_ids: Sequence[str], note: Note = unnoted
    ) -> list[tuple[Face, Receipt]]:
        """Erase several faces at once; ids that are not there are overlooked. Returns what was erased, oldest first.

        Raises:
            CollectionNotFound: There is no collection of that name.
        """
        erased = self.change(partial(subjects.delete_faces, collection=collection, face_ids=face_ids))
        if erased:
            self._finish_erasure([receipt for _, receipt in erased], note)
        return erased

    def receipts(
        self, cursor: str | None = None, limit: int = 100, reachable: frozenset[str] | None = None
    ) -> Page[Receipt]:
        """Return receipts of erasures, oldest first: of all, or of those in the collections named.

        Raises:
            CursorInvalid: The cursor was not made by this list.
        """
        return self._page(partial(queries.list_receipts, reachable=reachable), cursor, limit)

    # ---- enrolment

    def enroll(
        self,
        collection: str,
        subject: str,
        new_faces: Sequence[NewFace],
        *,
        metadata: Mapping[str, Any] | None = None,
        expires_at: datetime | None = None,
        duplicate: DuplicateCheck | None = None,
        idempotency: Idempotency | None = None,
        report: Mapping[str, Any] | None = None,
    ) -> Enrolment:
        """Add faces to a subject, which is made if it is new; all of them or none.

        Args:
            collection: Must exist.
            subject: Name within the collection.
            new_faces: At least one, each with at least one template.
            metadata: Replaces the subject's; None leaves it.
            expires_at: When the subject is erased by itself; None leaves it.
            duplicate: Look for the faces among all other subjects, up to the very instant of the commit.
            idempotency: Keep the outcome under this key, and give it back when the same request comes again.
            report: JSON values to keep with the outcome, and to give back with it.

        Raises:
            CollectionNotFound: There is no collection of that name.
            DuplicateSubject: The face belongs to another subject, and the policy is to reject.
            FaceExists: A face of that id is enrolled already.
            IdempotencyConflict: The key named another request.
            NameInvalid: The name cannot be given.
            VectorInvalid: Not finite unit vectors of the model's dimension.
        """
        job = Enroll(
            self.index,
            self._keyring,
            self._reader,
            collection,
            subject,
            new_faces,
            metadata=metadata,
            expires_at=expires_at,
            duplicate=duplicate,
            idempotency=idempotency,
            report=report,
            keep_reply=self._keep_reply,
        )
        enrolment = self.change(job)
        if job.erased:
            with suppress(StorageError):  # the upkeep goes on; whoever is enrolled now is enrolled
                self.erase_traces()
        return enrolment

    def replay(self, idempotency: Idempotency) -> Enrolment | KeptReply | None:
        """Return the outcome kept of a request that was answered before, else None.

        Raises:
            IdempotencyConflict: The key named another request.
        """
        return self._read(partial(kept_outcomes.recall, idempotency=idempotency))

    # ---- comparison

    def search(
        self, collection: str, digest: str, probes: NDArray[np.float32], k: int, scoring: Scoring | None = None
    ) -> list[list[Hit]]:
        """Search for each of (N,D) unit probes the k best subjects, each once with its best face, best first.

        Scores are cosines, or normalised by `scoring`. An empty collection gives empty lists.

        Raises:
            CollectionNotFound: There is no collection of that name.
            VectorInvalid: Not finite unit vectors of the model's dimension.
            TemplateMissing: The collection has templates, and none of this model.
            ScoreInvalid: A comparison gave no cosine.
        """

        def read(connection: sa.Connection) -> comparison.Found:
            return comparison.search(
                connection, self.index, self._reader, collection, digest, probes, k, scoring, self._observe
            )

        return comparison.settle(lambda: self._read(read, "search"), self.database.await_changes)

    def compare(
        self,
        collection: str,
        subject: str,
        digest: str,
        probe: Vector,
        scoring: Scoring | None = None,
        face_id: str | None = None,
    ) -> Hit:
        """Compare one (D,) unit probe with a subject's faces; returns the best, by cosine or as `scoring` says.

        With `face_id` only that face of the subject is compared.

        Raises:
            CollectionNotFound: There is no collection of that name.
            SubjectNotFound: The collection has no subject of that name.
            VectorInvalid: Not finite unit vectors of the model's dimension.
            TemplateMissing: None of the subject's faces has a template of this model.
            TemplateDamaged: Those that they have are damaged.
            ScoreInvalid: A comparison gave no cosine.
        """

        def read(connection: sa.Connection) -> Hit:
            return comparison.compare(connection, self._reader, collection, subject, digest, probe, scoring, face_id)

        return self._read(read)

    # ---- the store itself

    def note_expiries(self, note: NoteExpiry) -> None:
        """Let `note` be told of whoever has expired and is erased because somebody else gets the name."""
        self._note_expiry = note

    @property
    def damaged(self) -> int:
        """How many templates were found damaged, and set aside, since the start."""
        return self._reader.damaged

    def check(self) -> None:
        """Check that the gallery can serve.

        Raises:
            StorageError: It cannot.
        """
        self.database.check()
        self._read(lambda connection: connection.execute(sa.select(facts.c.name).limit(1)).first())
        self.index.check()

    def verify(self) -> Report:
        """Compare the index with the database, and this with itself. Changes wait meanwhile; searches do not."""
        return self.change(lambda transaction: verify(transaction.connection, self.index, self._reader))

    def compact(self) -> None:
        """Bring the index into its final shape and drop every removed vector from the derived files, now."""
        if isinstance(self.index, Compactable):
            self.index.compact()
        self.erase_traces()

    def erase_traces(self) -> None:
        """Let no file of the gallery hold what was erased from the tables and the index.

        Raises:
            ErasureUnfinished: Somebody still reads the old state.
        """
        if isinstance(self.index, Erasable):
            self.index.erase()
        self.database.tidy()

    def prune(self) -> None:
        """Drop outcomes kept of requests whose time is up, from the files too."""
        if self.database.write(kept_outcomes.prune):
            with suppress(ErasureUnfinished):
                self.database.tidy(copies=False)

    def close(self) -> None:
        """Finish what was admitted, and give back what was opened."""
        self.database.close()
        self.index.close()
        self.database.release()

    def _read(self, read: Callable[[sa.Connection], T], what: str = "read") -> T:
        started = time.perf_counter()
        try:
            return self.database.read(read)
        finally:
            self._observe(what, time.perf_counter() - started)

    def change(self, work: Callable[[Transaction[IndexChange]], T]) -> T:
        """Run a change of `service.gallery.changes` whole or not at all."""

        def noting(transaction: Transaction[IndexChange]) -> tuple[T, list[Any]]:
            return work(transaction), transaction.side_effects

        started = time.perf_counter()
        try:
            result, expired = self.database.change(noting)
        finally:
            self._observe("change", time.perf_counter() - started)
        for receipt, collection in expired:
            self._note_expiry(receipt, collection)
        return result

    def _finish_erasure(self, receipts: Sequence[Receipt], note: Note) -> None:
        """Tell of what was erased, and clean the files of it, also where it cannot be told.

        A file that cannot be cleaned now is no reason to tell nobody: the erasure is committed.

        Raises:
            ErasureUnfinished: Somebody still reads the old state. What `note` raises.
        """
        try:
            for receipt in receipts:
                note(receipt)
        finally:
            self.erase_traces()

    def _page(
        self, read: Callable[[sa.Connection, int, int], list[tuple[int, T]]], cursor: str | None, limit: int
    ) -> Page[T]:
        after = paging.decode(cursor)
        items = self._read(lambda connection: read(connection, after, limit + 1))
        more = paging.encode(items[limit - 1][0]) if len(items) > limit else None
        return Page(tuple(item for _, item in items[:limit]), more)
