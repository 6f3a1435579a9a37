"""What can go wrong in the gallery.

::

    FacetError
    `-- GalleryError
        |-- CollectionNotFound, CollectionExists
        |-- SubjectNotFound, SubjectExists, DuplicateSubject
        |-- FaceNotFound, FaceExists, TemplateMissing
        |-- NameInvalid, VectorInvalid, CursorInvalid
        |-- IdempotencyConflict
        |-- ArchiveInvalid, ArchiveConflict
        `-- StorageError
            |-- GalleryBusy
            |-- StorageFull, StorageReadOnly, StorageUnavailable
            |-- StorageLocked
            `-- KeyMissing
"""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar

from service.errors import FacetError

if TYPE_CHECKING:
    from service.gallery.records import Hit


class GalleryError(FacetError):
    """The root of what the gallery raises."""

    code: ClassVar[str] = "gallery_error"


class CollectionNotFound(GalleryError):
    """No collection has this name."""

    code = "collection_not_found"

    def __init__(self, name: str) -> None:
        super().__init__(f"There is no collection named '{name}'; create it first.")


class CollectionExists(GalleryError):
    """The name of a new collection is taken."""

    code = "collection_exists"

    def __init__(self, name: str) -> None:
        super().__init__(f"A collection named '{name}' exists already; choose another name or use that one.")


class SubjectNotFound(GalleryError):
    """No subject of the collection has this name."""

    code = "subject_not_found"

    def __init__(self, collection: str, name: str) -> None:
        super().__init__(f"Collection '{collection}' has no subject named '{name}'.")


class SubjectExists(GalleryError):
    """A subject cannot take the name of another one."""

    code = "subject_exists"

    def __init__(self, collection: str, name: str) -> None:
        super().__init__(f"Collection '{collection}' already has a subject named '{name}'; choose another name.")


class DuplicateSubject(GalleryError):
    """The face to enrol already belongs to another subject.

    `hits` are the other subjects at or above the threshold, best first.
    """

    code = "duplicate_subject"

    def __init__(self, hits: tuple[Hit, ...]) -> None:
        self.hits = hits
        names = ", ".join(f"'{hit.subject}'" for hit in hits)
        super().__init__(
            f"The face is already enrolled as {names}; add it there, or enrol with duplicate=warn or allow."
        )


class FaceNotFound(GalleryError):
    """No face of the collection has this id."""

    code = "face_not_found"

    def __init__(self, collection: str, face_id: str) -> None:
        super().__init__(f"Collection '{collection}' has no face with the id '{face_id}'.")


class FaceExists(GalleryError):
    """A face id is used once."""

    code = "face_exists"

    def __init__(self, face_id: str) -> None:
        super().__init__(f"A face with the id '{face_id}' is enrolled already; give each face a new id.")


class TemplateMissing(GalleryError):
    """There is no template of the asked model to compare with."""

    code = "template_missing"

    def __init__(self, where: str, digest: str, present: tuple[str, ...] = ()) -> None:
        known = ", ".join(f"{other[:12]}" for other in present) or "none"
        super().__init__(
            f"{where} has no template of model {digest[:12]} (models there: {known}); "
            "ask with one of those, or enrol again with this model."
        )


class NameInvalid(GalleryError):
    """A name is empty, too long or holds control characters."""

    code = "name_invalid"

    def __init__(self, kind: str) -> None:
        super().__init__(f"A {kind} name has 1 to 255 printable characters and no space at either end.")


class VectorInvalid(GalleryError):
    """A template or probe is not a finite unit vector of the model's dimension."""

    code = "vector_invalid"


class CursorInvalid(GalleryError):
    """A paging cursor was not made by this list."""

    code = "cursor_invalid"

    def __init__(self) -> None:
        super().__init__("The cursor is not one that this list returned; start again without a cursor.")


class IdempotencyConflict(GalleryError):
    """The same idempotency key came with another request."""

    code = "idempotency_conflict"

    def __init__(self, key: str) -> None:
        super().__init__(f"The idempotency key '{key}' was used for a different request; use a new key.")


class ArchiveInvalid(GalleryError):
    """An archive is damaged, cut short, or of a version this build cannot read."""

    code = "archive_invalid"


class ArchiveConflict(GalleryError):
    """The archive holds something that the gallery has already, and the rule is to stop."""

    code = "archive_conflict"


class StorageError(GalleryError):
    """The store cannot do its work now; nothing unacknowledged was kept, nothing acknowledged was lost."""

    code = "storage_error"
    retry_after: float = 1.0
    """Seconds after which another try is worth making."""


class GalleryBusy(StorageError):
    """More writes wait than the queue admits, or another process holds the store."""

    code = "gallery_busy"

    def __init__(self, retry_after: float = 1.0) -> None:
        self.retry_after = retry_after
        super().__init__(f"The gallery has more writes waiting than it admits; try again in {retry_after:g} s.")


class StorageFull(StorageError):
    """The disk is full."""

    code = "storage_full"
    retry_after = 30.0

    def __init__(self) -> None:
        super().__init__("The disk of the gallery is full: nothing was stored. Free space; no restart is needed.")


class StorageReadOnly(StorageError):
    """The data directory cannot be written."""

    code = "storage_read_only"
    retry_after = 30.0

    def __init__(self) -> None:
        super().__init__("The gallery's directory or file cannot be written: mount it writable and check its owner.")


class StorageUnavailable(StorageError):
    """The store cannot be opened, is damaged, or failed in a way that a restart may cure."""

    code = "storage_unavailable"
    retry_after = 5.0


class StorageLocked(StorageError):
    """Another process has the gallery open."""

    code = "storage_locked"

    def __init__(self, owner: str) -> None:
        super().__init__(f"The gallery is open in another process ({owner}): stop it first, or use its API.")


class KeyMissing(StorageError):
    """Templates are encrypted with a key that was not given."""

    code = "template_key_missing"

    def __init__(self, key_id: str) -> None:
        super().__init__(
            f"Templates are encrypted with the key '{key_id}', which was not given: add it to the settings."
        )
