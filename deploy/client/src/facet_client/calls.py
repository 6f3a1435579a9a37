"""The calls of the service, each described once for both clients: what is sent, and what the answer is read as."""

from __future__ import annotations

import json
import uuid
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, Final, Generic, Literal, TypeAlias, TypeVar
from urllib.parse import quote

from facet_client.photographs import Photograph, bytes_of
from facet_client.reading import read
from facet_client.replies import (
    CallingKey,
    Collection,
    Detection,
    Embedding,
    Enrollment,
    Health,
    Identification,
    MergedSubject,
    Model,
    ModelList,
    Page,
    Receipt,
    StoredFace,
    Subject,
    Verification,
)

T_co = TypeVar("T_co", covariant=True)
Metadata: TypeAlias = Mapping[str, str | float | bool | None]
DEFAULT = "default"
PAGE = 100
KEEP: Final = "keep"
"""A date of expiry that stays as it is."""


@dataclass(frozen=True, slots=True)
class Call(Generic[T_co]):
    """One request, and how its answer is read.

    Attributes:
        method, route: The operation, as the OpenAPI document names it.
        repeatable: Whether doing it twice is the same as doing it once.
        places: What stands in the route's braces.
        query, form, files, document: What is sent; None and empty values are left out.
    """

    method: str
    route: str
    parse: Callable[[bytes], T_co]
    repeatable: bool = True
    places: Mapping[str, str] = field(default_factory=dict)
    query: Mapping[str, Any] = field(default_factory=dict)
    form: Mapping[str, Any] = field(default_factory=dict)
    files: tuple[tuple[str, bytes], ...] = ()
    document: Mapping[str, Any] | None = None
    headers: Mapping[str, str] = field(default_factory=dict)

    @property
    def path(self) -> str:
        """The route with its places filled in."""
        return self.route.format(**{name: quote(value, safe="") for name, value in self.places.items()})


K = TypeVar("K")


@dataclass(frozen=True, slots=True)
class Listing(Generic[K]):
    """A list that comes in pages: the call for the page at a cursor."""

    page: Callable[[str | None], Call[Page[K]]]


def _as(kind: type[K]) -> Callable[[bytes], K]:
    return lambda content: read(kind, json.loads(content))


def verify(
    probe: Photograph,
    reference: Photograph | None = None,
    *,
    subject: str | None = None,
    collection: str | None = None,
    fmr: float | None = None,
    threshold: float | None = None,
    model: str | None = None,
    faces: Literal["prominent", "single"] | None = None,
    quality: Literal["enforce", "report"] | None = None,
    reference_faces: Literal["prominent", "single"] | None = None,
    reference_quality: Literal["enforce", "report"] | None = None,
) -> Call[Verification]:
    """Decide whether a probe shows the person of a reference photograph, or of a stored subject.

    Args:
        probe: Photograph of the person to verify.
        reference: Photograph to compare with; or else
        subject: Name of a stored subject to compare with.
        collection: Collection of the subject.
        fmr: False match rate to decide at; or else
        threshold: Score to decide at.
        model: Model that embeds the faces.
        faces: `prominent` takes the largest, most central face, `single` refuses photographs with several.
        quality: `enforce` refuses unfit faces, `report` names the reasons.
        reference_faces: `faces` for the reference, an identity card beside a selfie say.
        reference_quality: `quality` for the reference.
    """
    form = {
        "subject": subject,
        "collection": collection,
        "reference_faces": reference_faces,
        "reference_quality": reference_quality,
        **_decided(fmr, threshold, model, faces, quality),
    }
    other = () if reference is None else (("reference", bytes_of(reference)),)
    files = (("probe", bytes_of(probe)), *other)
    return Call("POST", "/v1/verify", _as(Verification), form=form, files=files)


def identify(
    image: Photograph,
    *,
    collection: str = DEFAULT,
    top_k: int | None = None,
    fmr: float | None = None,
    threshold: float | None = None,
    model: str | None = None,
    faces: Literal["prominent", "single", "all"] | None = None,
    quality: Literal["enforce", "report"] | None = None,
) -> Call[Identification]:
    """Find who is on a photograph among a collection's subjects, or that it is none of them.

    Args:
        image: Photograph of the person.
        collection: Collection to search.
        top_k: Most candidates to return.
        fmr: Rate at which a stranger matches anybody; or else
        threshold: Score to decide at.
        model: Model that embeds the faces.
        faces: As for `verify`; `all` decides for each face.
        quality: As for `verify`.
    """
    form = {"collection": collection, "top_k": top_k, **_decided(fmr, threshold, model, faces, quality)}
    return Call("POST", "/v1/identify", _as(Identification), form=form, files=(("image", bytes_of(image)),))


def enroll(
    subject: str,
    images: Photograph | Iterable[Photograph],
    *,
    collection: str = DEFAULT,
    metadata: Metadata | None = None,
    expires_at: datetime | None = None,
    duplicate: Literal["allow", "warn", "reject"] | None = None,
    fmr: float | None = None,
    threshold: float | None = None,
    model: str | None = None,
    faces: Literal["prominent", "single"] | None = None,
    quality: Literal["enforce", "report"] | None = None,
    idempotency_key: str | None = None,
) -> Call[Enrollment]:
    """Add faces to a person, who is made when new. The answer comes once they are on disk.

    Args:
        subject: Name of the person.
        images: One photograph or several, at most 20. Fit ones are enrolled, the others are reported.
        collection: Collection to enrol in.
        metadata: Facts to keep with the subject; replaces earlier ones.
        expires_at: When the person is erased by itself, with a receipt; a time with a zone.
        duplicate: What to do when a face belongs to another subject: `allow`, `warn`, `reject`.
        fmr: Rate at which duplicates are looked for; or else
        threshold: Score from which on a face is a duplicate.
        model: Model by which duplicates are looked for.
        faces: As for `verify`; by default `single`.
        quality: As for `verify`; by default what the collection says, or `enforce`.
        idempotency_key: Names this enrolment: a repetition within a day enrols nothing. One is made when none is given,
            so that an enrolment whose answer was lost is asked for again without harm.

    Raises:
        ValueError: There is no photograph.
    """
    one = isinstance(images, (str, bytes)) or hasattr(images, "__fspath__") or hasattr(images, "read")
    several: Iterable[Any] = (images,) if one else images  # type: ignore[assignment]
    form = {
        "subject": subject,
        "collection": collection,
        "metadata": None if metadata is None else json.dumps(dict(metadata)),
        "expires_at": None if expires_at is None else expires_at.isoformat(),
        "duplicate": duplicate,
        **_decided(fmr, threshold, model, faces, quality),
    }
    files = tuple(("images", bytes_of(each)) for each in several)
    if not files:
        raise ValueError(f"there is no photograph of {subject!r} to enrol")
    headers = {"Idempotency-Key": idempotency_key or str(uuid.uuid4())}
    return Call("POST", "/v1/enroll", _as(Enrollment), form=form, files=files, headers=headers)


def detect(image: Photograph) -> Call[Detection]:
    """Find all faces of a photograph, the most prominent first; no face is no error."""
    return Call("POST", "/v1/detect", _as(Detection), files=(("image", bytes_of(image)),))


def embed(image: Photograph, *, model: str | None = None) -> Call[Embedding]:
    """Make templates of all faces of a photograph: biometric data, keep them safe."""
    return Call("POST", "/v1/embed", _as(Embedding), form={"model": model}, files=(("image", bytes_of(image)),))


def collections() -> Listing[Collection]:
    """List the collections that the key may touch."""
    return Listing(lambda cursor: Call("GET", "/v1/collections", _as(Page[Collection]), query=_page(cursor)))


def create_collection(
    name: str,
    *,
    keep_crops: bool = False,
    quality: Literal["enforce", "report"] | None = None,
    metadata: Metadata | None = None,
) -> Call[Collection]:
    """Make an empty collection; with `keep_crops` the aligned face of every enrolment is kept.

    `quality` says how enrolments into it treat unfit faces where they do not say.
    """
    document = {"name": name, "keep_crops": keep_crops, "quality": quality, "metadata": dict(metadata or {})}
    return Call("POST", "/v1/collections", _as(Collection), repeatable=False, document=document)


def collection(name: str) -> Call[Collection]:
    """Read a collection."""
    return Call("GET", "/v1/collections/{collection}", _as(Collection), places={"collection": name})


def update_collection(
    name: str,
    *,
    keep_crops: bool | None = None,
    quality: Literal["enforce", "report"] | None = None,
    metadata: Metadata | None = None,
) -> Call[Collection]:
    """Change whether crops are kept, how unfit faces are treated, the metadata, or several of them."""
    changes = {"keep_crops": keep_crops, "quality": quality, "metadata": None if metadata is None else dict(metadata)}
    document = {what: value for what, value in changes.items() if value is not None}
    places = {"collection": name}
    return Call("PATCH", "/v1/collections/{collection}", _as(Collection), places=places, document=document)


def delete_collection(name: str) -> Call[Receipt]:
    """Erase a collection with every subject, face and template in it."""
    places = {"collection": name}
    return Call("DELETE", "/v1/collections/{collection}", _as(Receipt), repeatable=False, places=places)


def subjects(*, collection: str = DEFAULT, prefix: str = "") -> Listing[Subject]:
    """List the subjects of a collection whose names begin with `prefix`, oldest first."""
    route, places = "/v1/collections/{collection}/subjects", {"collection": collection}
    return Listing(
        lambda cursor: Call("GET", route, _as(Page[Subject]), places=places, query=_page(cursor, prefix=prefix))
    )


SUBJECT = "/v1/collections/{collection}/subjects/{subject}"
FACE = "/v1/collections/{collection}/faces/{face_id}"


def subject(name: str, *, collection: str = DEFAULT) -> Call[Subject]:
    """Read a subject."""
    return Call("GET", SUBJECT, _as(Subject), places={"collection": collection, "subject": name})


def update_subject(
    subject: str,
    *,
    collection: str = DEFAULT,
    name: str | None = None,
    metadata: Metadata | None = None,
    expires_at: datetime | Literal["keep"] | None = KEEP,
) -> Call[Subject]:
    """Give a subject a new name, new metadata, a date at which it is erased by itself (None: never), or several."""
    changes = {"name": name, "metadata": None if metadata is None else dict(metadata)}
    document: dict[str, Any] = {what: value for what, value in changes.items() if value is not None}
    if expires_at != KEEP:
        document["expires_at"] = None if expires_at is None else expires_at.isoformat()
    places = {"collection": collection, "subject": subject}
    return Call("PATCH", SUBJECT, _as(Subject), repeatable=name is None, places=places, document=document)


def delete_subject(name: str, *, collection: str = DEFAULT) -> Call[Receipt]:
    """Erase a subject with all faces and templates."""
    places = {"collection": collection, "subject": name}
    return Call("DELETE", SUBJECT, _as(Receipt), repeatable=False, places=places)


def merge_subjects(
    subject: str, other: str, *, collection: str = DEFAULT, idempotency_key: str | None = None
) -> Call[MergedSubject]:
    """Give all faces of the other person to this one, and drop the other's record, in one step."""
    return Call(
        "POST",
        f"{SUBJECT}/merge",
        _as(MergedSubject),
        places={"collection": collection, "subject": subject},
        document={"other": other},
        headers={"Idempotency-Key": idempotency_key or str(uuid.uuid4())},
    )


def faces(subject: str, *, collection: str = DEFAULT) -> Listing[StoredFace]:
    """List the faces of a subject, oldest first."""
    route, places = f"{SUBJECT}/faces", {"collection": collection, "subject": subject}
    return Listing(lambda cursor: Call("GET", route, _as(Page[StoredFace]), places=places, query=_page(cursor)))


def face(face_id: str, *, collection: str = DEFAULT) -> Call[StoredFace]:
    """Read an enrolled face, without image and template."""
    return Call("GET", FACE, _as(StoredFace), places={"collection": collection, "face_id": face_id})


def crop(face_id: str, *, collection: str = DEFAULT) -> Call[bytes]:
    """Fetch the aligned face as it was kept at enrolment: a PNG of 128 by 128 pixels."""
    return Call("GET", f"{FACE}/crop", bytes, places={"collection": collection, "face_id": face_id})


def move_face(face_id: str, subject: str, *, collection: str = DEFAULT) -> Call[StoredFace]:
    """Give a face to another person of the collection, who is made when new."""
    places = {"collection": collection, "face_id": face_id}
    return Call("PATCH", FACE, _as(StoredFace), places=places, document={"subject": subject})


def delete_face(face_id: str, *, collection: str = DEFAULT) -> Call[Receipt]:
    """Erase an enrolled face with its templates."""
    places = {"collection": collection, "face_id": face_id}
    return Call("DELETE", FACE, _as(Receipt), repeatable=False, places=places)


def receipts() -> Listing[Receipt]:
    """List the receipts of all erasures."""
    return Listing(lambda cursor: Call("GET", "/v1/receipts", _as(Page[Receipt]), query=_page(cursor)))


def models() -> Call[tuple[Model, ...]]:
    """List all models that the service knows."""
    return Call("GET", "/v1/models", lambda content: read(ModelList, json.loads(content)).items)


def model(name: str) -> Call[Model]:
    """Read a model, by name or `name@version`."""
    return Call("GET", "/v1/models/{name}", _as(Model), places={"name": name})


def card(name: str) -> Call[str]:
    """Read a model's card: data, teacher, licence and limits, as Markdown."""
    return Call("GET", "/v1/models/{name}/card", bytes.decode, places={"name": name})


def key() -> Call[CallingKey]:
    """Say what the calling key may do."""
    return Call("GET", "/v1/key", _as(CallingKey))


def alive() -> Call[Health]:
    """Say whether the process serves."""
    return Call("GET", "/livez", _as(Health))


def ready() -> Call[Health]:
    """Run every loaded model once and ask the storage."""
    return Call("GET", "/readyz", _as(Health))


def _decided(
    fmr: float | None, threshold: float | None, model: str | None, faces: str | None, quality: str | None
) -> dict[str, Any]:
    return {"fmr": fmr, "threshold": threshold, "model": model, "faces": faces, "quality": quality}


def _page(cursor: str | None, **others: str) -> dict[str, Any]:
    return {"limit": PAGE, "cursor": cursor, **others}
