"""Replies about models."""

from __future__ import annotations

from typing import Self

from pydantic import Field

from service.api.schemas.reply import Reply
from service.face.manifest import Manifest


class ModelRef(Reply):
    """The model behind a result, and the SHA-256 of its file."""

    name: str = Field(examples=["facet-s"])
    version: str = Field(examples=["1.0.0"])
    digest: str

    @classmethod
    def of(cls, manifest: Manifest) -> Self:
        """Refer to the model of a manifest."""
        return cls(name=manifest.name, version=manifest.version, digest=manifest.sha256)


class Model(Reply):
    """A model that the service knows."""

    loaded: bool = Field(description="Whether it answers requests.")
    default: bool = Field(description="Whether it answers requests that name no model.")
    supported_fmr: list[float] = Field(description="False match rates its calibration supports, highest first.")
    provider: str | None = Field(
        description="What it runs on: `cpu`, `cuda`, `tensorrt`, `openvino`, `coreml` or `dml`; null where it is not "
        "loaded."
    )
    score: str = Field(
        description="What its scores are: `cosine`, whose rate holds for faces like those it was calibrated on, or "
        "`as-norm:...`, normalised by the kind of face."
    )
    manifest: Manifest


class ModelList(Reply):
    """All models that the service knows."""

    items: list[Model]
