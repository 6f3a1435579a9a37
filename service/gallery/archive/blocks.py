"""What an archive's blocks hold, checked as it is read: the limits are those of the API that people come in by."""

from __future__ import annotations

import base64
import json
from datetime import UTC, datetime
from typing import Annotated, Any, Literal

import numpy as np
from pydantic import (
    AwareDatetime,
    Base64Bytes,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    TypeAdapter,
    ValidationError,
)

from service.gallery.errors import ArchiveInvalid
from service.index import vectors
from service.index.base import Vector
from service.index.errors import VectorInvalid

LARGEST_METADATA = 1 << 16
"""Bytes of one record's metadata as JSON."""
DEEPEST = 8

Name = Annotated[str, Field(min_length=1, max_length=200, pattern=r"^[^/\\]+$")]
Id = Annotated[str, Field(min_length=1, max_length=64, pattern=r"^[^/\\]+$")]
Count = Annotated[int, Field(ge=0)]


def moment_of(value: object) -> datetime:
    """Return the moment that stands in an archive, in UTC.

    Raises:
        ValueError: It is no text, no moment in ISO 8601, or of no zone.
    """
    if not isinstance(value, str):
        raise ValueError("must be a moment as text")
    moment = datetime.fromisoformat(value)
    if moment.tzinfo is None:
        raise ValueError("must be a moment with its zone")
    try:
        return moment.astimezone(UTC)
    except OverflowError:
        raise ValueError("must be a moment of this calendar") from None


Moment = Annotated[AwareDatetime, BeforeValidator(moment_of)]


class _Block(BaseModel):
    model_config = ConfigDict(extra="allow", allow_inf_nan=False)


class Head(_Block):
    """The first block: which archive of which gallery this is."""

    kind: Annotated[str, Field(pattern="^head$")]
    id: Id
    store: str
    collections: list[Name]


class CollectionBlock(_Block):
    """A collection, before those who are in it."""

    kind: Annotated[str, Field(pattern="^collection$")]
    name: Name
    keep_crops: bool
    metadata: dict[str, Any]
    created_at: Moment
    quality: Literal["enforce", "report"] | None = None


class FaceEntry(_Block):
    """A face with its templates, by the digests of their models, and its crop."""

    id: Id
    created_at: Moment
    quality: dict[str, float]
    box: Annotated[list[float], Field(max_length=4)]
    landmarks: Annotated[list[tuple[float, float]], Field(max_length=16)]
    source_sha256: Annotated[str, Field(max_length=64)]
    templates: dict[str, Base64Bytes]
    crop: Base64Bytes | None


class SubjectEntry(_Block):
    """A person with faces."""

    id: Id
    name: Name
    metadata: dict[str, Any]
    created_at: Moment
    updated_at: Moment
    expires_at: Moment | None = None
    faces: list[FaceEntry]


class SubjectsBlock(_Block):
    """People of one collection."""

    kind: Annotated[str, Field(pattern="^subjects$")]
    collection: Name
    last: Count
    subjects_count: Count
    faces_count: Count
    templates_count: Count
    subjects: list[SubjectEntry]


class End(_Block):
    """The last block, with what all of them hold."""

    kind: Annotated[str, Field(pattern="^end$")]
    collections: Count
    subjects: Count
    faces: Count
    templates: Count


_KINDS = TypeAdapter(Head | CollectionBlock | SubjectsBlock | End)


def read_block(text: bytes, source: str) -> dict[str, Any]:
    """Read the JSON of one block and check it; returned as it stands there.

    Raises:
        ArchiveInvalid: It is no block of an archive.
    """
    try:
        block: dict[str, Any] = json.loads(text)
        _KINDS.validate_json(text, strict=True)  # nothing is turned into what it should be: it is taken as it stands
        for entry in (block, *(block["subjects"] if block["kind"] == "subjects" else ())):
            metadata = entry.get("metadata", {})
            if _depth(metadata) > DEEPEST or len(json.dumps(metadata, allow_nan=False)) > LARGEST_METADATA:
                raise ArchiveInvalid(f"Archive {source} holds metadata that is longer than 64 KiB, or deeply nested.")
    except ValidationError as error:
        first = error.errors(include_url=False, include_input=False)[-1]
        where = ".".join(map(str, first["loc"]))
        raise ArchiveInvalid(f"Archive {source} holds what no export writes ({where}: {first['msg']}).") from None
    except (ValueError, RecursionError) as error:
        what = type(error).__name__
        raise ArchiveInvalid(f"Archive {source} holds a block that is no JSON object ({what}).") from None
    return block


def template_of(digest: str, text: str) -> Vector:
    """Return the template (D,) that stands in an archive for a model.

    Raises:
        ArchiveInvalid: It is no finite vector of length 1.
    """
    blob = base64.b64decode(text)
    try:
        template: Vector = vectors.check(vectors.unpack([blob], len(blob) // 2).astype(np.float32), None)[0]
    except VectorInvalid as error:
        raise ArchiveInvalid(f"A template of model {digest[:12]} cannot be taken in: {error}") from None
    return template


def _depth(value: Any) -> int:
    """How deep lists and objects stand in each other; no deeper than it takes to know that it is too deep."""
    level, depth = [value], 0
    while level and depth <= DEEPEST:
        level = [
            inner
            for each in level
            if isinstance(each, dict | list)
            for inner in (each.values() if isinstance(each, dict) else each)
        ]
        depth += 1
    return depth
