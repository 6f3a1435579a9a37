"""What CompreFace's clients send: bodies, as a form or as base64 in JSON, and parameters of the address."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated, Any

from fastapi import Query
from pydantic import ConfigDict, Field, model_validator

from service.api.http import body
from service.api.http.body import KIB, Image
from service.api.http.errors import Fault, RequestInvalid
from service.api.schemas.requests import MAX_TOP_K, Name, Text
from service.engine.engine import Engine

MAX_EMBEDDINGS = 64
MAX_DIMENSIONS = 1024
MAX_IDS = 400
MAX_PAGE = 2000
CALCULATOR, LANDMARKS = "calculator", "landmarks"
ALL = -1

Embedding = Annotated[tuple[float, ...], Field(min_length=1, max_length=MAX_DIMENSIONS)]
Embeddings = Annotated[tuple[Embedding, ...], Field(min_length=1, max_length=MAX_EMBEDDINGS)]


class Request(body.Request):
    """Fields that no one knows are overlooked, as CompreFace does; numbers are finite."""

    model_config = ConfigDict(extra="ignore", frozen=True, allow_inf_nan=False)


class FileRequest(Request):
    """One picture."""

    max_text = 64 * KIB
    max_images = 1

    file: Image


class PairRequest(Request):
    """Two pictures: one with the face in question, and one to look for it in."""

    max_text = 64 * KIB
    max_images = 2

    source_image: Image
    target_image: Image


class SubjectRequest(Request):
    """The name of a subject."""

    subject: Name


class FaceIdsRequest(Request):
    """Ids of faces; the body is the list alone."""

    max_text = 64 * KIB

    ids: tuple[Annotated[Text, Field(min_length=1, max_length=64)], ...] = Field(max_length=MAX_IDS)

    @model_validator(mode="before")
    @classmethod
    def _bare_list(cls, value: Any) -> Any:
        return {"ids": tuple(value)} if isinstance(value, list) else value


class _ManyNumbers(Request):
    max_text = 2048 * KIB
    max_values = MAX_EMBEDDINGS * MAX_DIMENSIONS - 1


class EmbeddingsRequest(_ManyNumbers):
    """Templates to compare with those enrolled."""

    embeddings: Embeddings


class EmbeddingPairsRequest(_ManyNumbers):
    """A template, and those to compare it with."""

    source: Embedding
    targets: Embeddings


@dataclass(frozen=True, slots=True)
class Options:
    """How faces are looked for, and what is told of them."""

    least_score: float
    limit: int
    plugins: frozenset[str]
    status: bool

    def see(self, engine: Engine, whole: bool = False) -> Engine:
        """The engine with such eyes."""
        return engine.looking(self.least_score, self.limit or None, whole)


Threshold = Annotated[float, Query(ge=0, le=1)]


def options(
    det_prob_threshold: Threshold = 0.0,
    limit: Annotated[int, Query(ge=0)] = 0,
    face_plugins: Annotated[str, Query(max_length=200)] = "",
    status: bool = False,
) -> Options:
    """Read the parameters that all routes with pictures have.

    A plugin that is not there is overlooked, as CompreFace does with one that is not installed: what it would have told
    is missing from the answer.
    """
    plugins = frozenset(name.strip() for name in face_plugins.split(","))
    return Options(det_prob_threshold, limit, plugins, status)


def prediction_count(
    prediction_count: Annotated[int, Query(ge=ALL)] = 1,
) -> int:
    """Read how many subjects are named for each face; -1, or more than that, is as many as can be.

    Raises: RequestInvalid for none.
    """
    if prediction_count == 0:
        raise RequestInvalid([Fault("query.prediction_count", "must be positive, or -1")])
    return MAX_TOP_K if prediction_count == ALL else min(prediction_count, MAX_TOP_K)
