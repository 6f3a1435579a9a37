"""What can go wrong in the gallery; its database and its index have errors of their own.

::

    FacetError
    `-- GalleryError
        |-- CollectionNotFound, CollectionExists
        |-- SubjectNotFound, SubjectExists, SamePerson, DuplicateSubject
        |-- FaceNotFound, FaceExists, CropMissing, TemplateMissing
        |-- NameInvalid
        |-- IdempotencyConflict, EnrolmentErased
        `-- ArchiveInvalid, ArchiveConflict
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
        """Name the collection."""
        super().__init__(f"There is no collection named '{name}'; create it first.")


class CollectionExists(GalleryError):
    """The name of a new collection is taken."""

    code = "collection_exists"

    def __init__(self, name: str) -> None:
        """Name the collection."""
        super().__init__(f"A collection named '{name}' exists already; choose another name or use that one.")


class SubjectNotFound(GalleryError):
    """No subject of the collection has this name."""

    code = "subject_not_found"

    def __init__(self, collection: str, name: str) -> None:
        """Name the subject and its collection."""
        super().__init__(f"Collection '{collection}' has no subject named '{name}'.")


class SubjectExists(GalleryError):
    """A subject cannot take the name of another one."""

    code = "subject_exists"

    def __init__(self, collection: str, name: str) -> None:
        """Name the subject and its collection."""
        super().__init__(f"Collection '{collection}' already has a subject named '{name}'; choose another name.")


class SamePerson(GalleryError):
    """A person is to be merged with itself."""

    code = "same_person"

    def __init__(self, name: str) -> None:
        """Name the person."""
        super().__init__(f"'{name}' cannot be merged with itself; name another person.")


class DuplicateSubject(GalleryError):
    """The face to enrol already belongs to another subject.

    `hits` are the other subjects at or above the threshold, best first.
    """

    code = "duplicate_subject"

    def __init__(self, hits: tuple[Hit, ...]) -> None:
        """Name the other subjects, best first."""
        self.hits = hits
        names = ", ".join(f"'{hit.subject}'" for hit in hits)
        super().__init__(
            f"The face is already enrolled as {names}; add it there, or enrol with duplicate=warn or allow."
        )


class FaceNotFound(GalleryError):
    """No face of the collection has this id."""

    code = "face_not_found"

    def __init__(self, collection: str, face_id: str) -> None:
        """Name the face by its id."""
        super().__init__(f"Collection '{collection}' has no face with the id '{face_id}'.")


class FaceExists(GalleryError):
    """A face id is used once."""

    code = "face_exists"

    def __init__(self, face_id: str) -> None:
        """Name the face by its id."""
        super().__init__(f"A face with the id '{face_id}' is enrolled already; give each face a new id.")


class CropMissing(GalleryError):
    """The face was enrolled while its collection kept no crops."""

    code = "crop_missing"

    def __init__(self, collection: str, face_id: str) -> None:
        super().__init__(f"No crop is kept of the face '{face_id}' of collection '{collection}'.")


class TemplateMissing(GalleryError):
    """There is no template of the asked model to compare with."""

    code = "template_missing"

    def __init__(self, where: str, digest: str, present: tuple[str, ...] = ()) -> None:
        """Say where, of which model (its digest), and which models are `present` there."""
        known = ", ".join(f"{other[:12]}" for other in present)
        super().__init__(
            f"{where} has no template of model {digest[:12]} (models there: {known}); "
            "ask with one of those, or enrol again with this model."
            if present
            else f"{where} has no template to compare with: enrol a photograph first."
        )


class NameInvalid(GalleryError):
    """A name is empty, too long, of dots alone, or holds slashes or control characters."""

    code = "name_invalid"

    def __init__(self, kind: str) -> None:
        """Say for what `kind` of thing the name was."""
        super().__init__(
            f"A {kind} name has 1 to 200 printable characters, no slash, no space at either end, and not dots alone."
        )


class IdempotencyConflict(GalleryError):
    """The same idempotency key came with another request."""

    code = "idempotency_conflict"

    def __init__(self, key: str) -> None:
        """Name the key."""
        super().__init__(f"The idempotency key '{key}' was used for a different request; use a new key.")


class EnrolmentErased(GalleryError):
    """A request was sent again after what it had enrolled was erased."""

    code = "enrolment_erased"

    def __init__(self) -> None:
        """Say how to enrol again."""
        super().__init__(
            "What this request enrolled was erased since, or moved to another person, and nothing is enrolled now: use "
            "a new idempotency key to enrol again."
        )


class ArchiveInvalid(GalleryError):
    """An archive is damaged, cut short, or of a version this build cannot read."""

    code = "archive_invalid"


class ArchiveConflict(GalleryError):
    """The archive holds something that the gallery has already, and the rule is to stop."""

    code = "archive_conflict"
