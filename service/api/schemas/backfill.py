"""Replies about a model's templates for people who are enrolled already."""

from __future__ import annotations

from datetime import datetime
from typing import Literal, Self

from pydantic import Field

from service.api.schemas.models import ModelRef
from service.api.schemas.reply import Reply
from service.api.schemas.rollout import RoleModel
from service.models import Models
from service.rollout.backfill.jobs import Job


class Reembedding(Reply):
    """A job that makes a model's templates from kept crops."""

    id: str
    model: RoleModel
    collection: str | None = Field(description="Null: all collections.")
    state: Literal["running", "done", "cancelled"]
    rate: float = Field(description="Most faces a second.")
    total: int = Field(description="Faces with a crop and without a template when the job began.")
    made: int = Field(description="Templates made.")
    failed: int = Field(description="Faces whose crop cannot be used.")
    left: int = Field(description="Faces still to be looked at.")
    principal: str | None = Field(description="Who began it; null where the key may not know.")
    at: datetime
    ended_at: datetime | None

    @classmethod
    def of(cls, job: Job, models: Models, *, named: bool) -> Self:
        """Render a job; `named` says whether its reader may know who began it."""
        return cls(
            id=job.id,
            model=RoleModel.of(job.model, models),
            collection=job.collection,
            state=job.state,
            rate=job.rate,
            total=job.total,
            made=job.made,
            failed=job.failed,
            left=job.left,
            principal=job.principal if named else None,
            at=job.at,
            ended_at=job.ended_at,
        )


class CollectionCoverage(Reply):
    """How far a model reaches in one collection, in faces."""

    collection: str
    faces: int
    templates: int = Field(description="Faces with a template of the model itself.")
    shared: int = Field(description="Faces without one, and with one of another model of its space.")
    from_crops: int = Field(description="Faces without one whose crop is kept: it can be made.")
    out_of_reach: int = Field(description="Faces without any template of its space: no probe of it finds them.")
    to_be_seen: int = Field(description="Faces out of reach without a crop: only a new photograph helps.")


class Coverage(Reply):
    """How far a model reaches in the collections that the key may see."""

    model: ModelRef
    collections: list[CollectionCoverage]
