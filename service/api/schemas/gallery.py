"""Replies about who is enrolled. Each has the fields of a record of the gallery."""

from __future__ import annotations

from datetime import datetime
from typing import Any, Literal, Self

from pydantic import Field

from service.api.schemas.reply import Reply
from service.gallery import records
from service.gallery.changes.collections import Members


class Subject(Reply):
    """An enrolled person; `faces` counts the faces enrolled now."""

    id: str
    collection: str
    name: str
    metadata: dict[str, Any]
    created_at: datetime
    updated_at: datetime
    faces: int
    expires_at: datetime | None = Field(
        None, description="When the person is erased by itself, within ten minutes; null: never."
    )


class MergedSubject(Reply):
    """The person who stays, and what became of the other."""

    subject: Subject
    merged_id: str = Field(description="Id of the person who is no more.")
    faces: int = Field(description="Faces that changed hands.")
    request_id: str


class Collection(Reply):
    """A named set of subjects, searched as one gallery."""

    name: str
    created_at: datetime
    keep_crops: bool
    quality: Literal["enforce", "report"] | None = Field(
        description="How enrolments into it treat unfit faces where they do not say; null: `enforce`."
    )
    metadata: dict[str, Any]
    subjects: int = Field(description="People enrolled.")
    faces: int = Field(description="Faces enrolled.")

    @classmethod
    def of(cls, collection: records.Collection, members: Members) -> Self:
        """Render a collection with the count of those who are in it."""
        return cls.model_validate(
            {
                "name": collection.name,
                "created_at": collection.created_at,
                "keep_crops": collection.keep_crops,
                "quality": collection.quality,
                "metadata": dict(collection.metadata),
                "subjects": members.subjects,
                "faces": members.faces,
            }
        )


class StoredFace(Reply):
    """One enrolled face, without its templates."""

    id: str
    collection: str
    subject: str
    created_at: datetime
    quality: dict[str, float]
    box: list[float] = Field(description="x, y, width and height in pixels of the upright image.")
    landmarks: list[tuple[float, float]]
    source_sha256: str = Field(description="Digest of the image it came from. The image itself is not kept.")
    models: list[str] = Field(description="Digests of the models that have a template of it.")


class Receipt(Reply):
    """Proof of an erasure: what was removed, and how much of it."""

    id: str
    kind: str = Field(
        description="What was erased: `subject`, `face`, `collection`, `subjects` (all of a collection), or `model` "
        "(its templates).",
        examples=["subject"],
    )
    target: str = Field(description="Id of the subject or face, name of the collection, or digest of the model.")
    faces: int
    templates: int
    at: datetime
