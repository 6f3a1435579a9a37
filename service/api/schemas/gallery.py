"""Replies about who is enrolled. Each has the fields of a record of the gallery."""

from __future__ import annotations

from datetime import datetime
from typing import Any

from pydantic import Field

from service.api.schemas.reply import Reply


class Subject(Reply):
    """An enrolled person; `faces` counts the faces enrolled now."""

    id: str
    collection: str
    name: str
    metadata: dict[str, Any]
    created_at: datetime
    updated_at: datetime
    faces: int


class Collection(Reply):
    """A named set of subjects, searched as one gallery."""

    name: str
    created_at: datetime
    keep_crops: bool
    metadata: dict[str, Any]


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
    kind: str = Field(examples=["subject"])
    target: str
    faces: int
    templates: int
    at: datetime
