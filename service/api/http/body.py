"""Request bodies: one pydantic model for multipart forms and for JSON, with every limit checked while reading."""

from __future__ import annotations

import asyncio
import base64
import binascii
import threading
from collections.abc import AsyncGenerator, Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Annotated, TypeVar, get_origin

from fastapi import Request
from pydantic import BaseModel, BeforeValidator, ValidationError, ValidationInfo, WithJsonSchema
from starlette.datastructures import FormData, UploadFile
from starlette.formparsers import MultiPartException, MultiPartParser

from service.api.http.errors import (
    BodyMalformed,
    BodyTimeout,
    BodyTooLarge,
    Fault,
    MediaTypeUnsupported,
    RequestInvalid,
    TooManyParts,
)
from service.executor import Overloaded

JSON, FORM = "application/json", "multipart/form-data"
MAX_FIELD_BYTES = 64 * 1024  # of a form's text part

M = TypeVar("M", bound=BaseModel)


def _image(value: object, info: ValidationInfo) -> bytes:
    if isinstance(value, bytes):
        return value
    if not isinstance(value, str) or (info.context or {}).get("form"):
        raise ValueError("must be an image: a file part of a form, or base64 text in JSON")
    try:
        return base64.b64decode(value, validate=True)
    except (binascii.Error, ValueError) as error:
        raise ValueError("must be base64 of an image file; addresses and paths are never fetched") from error


IMAGE_SCHEMA = {"type": "string", "contentEncoding": "base64", "contentMediaType": "image/*"}

Image = Annotated[bytes, BeforeValidator(_image), WithJsonSchema(IMAGE_SCHEMA)]
"""An encoded image: a file part in a form, base64 in JSON."""


@dataclass(frozen=True, slots=True)
class BodyLimits:
    """Bounds on one body: bytes, parts of a form, and seconds to arrive."""

    max_bytes: int
    max_parts: int
    seconds: float


class Intake:
    """Counts the bytes of bodies held at this moment, and refuses the one that would be too much."""

    def __init__(self, max_bytes: int) -> None:
        self._max = max_bytes
        self._held = 0
        self._lock = threading.Lock()

    @contextmanager
    def hold(self, size: int) -> Iterator[None]:
        """Reserve `size` bytes until the block ends. Raises: Overloaded."""
        with self._lock:
            if self._held + size > self._max:
                raise Overloaded("the request bodies being served fill the memory set aside for them")
            self._held += size
        try:
            yield
        finally:
            with self._lock:
                self._held -= size


def expected_size(request: Request, limits: BodyLimits) -> int:
    """The declared length of the body, or the most it may have when none is declared.

    Raises: BodyMalformed, BodyTooLarge.
    """
    declared = request.headers.get("content-length")
    if declared is None:
        return limits.max_bytes
    if not (declared.isascii() and declared.isdigit()):
        raise BodyMalformed("Content-Length is not a number")
    if int(declared[:20]) > limits.max_bytes:
        raise BodyTooLarge(f"the body has {declared[:20]} bytes; the limit is {limits.max_bytes}")
    return int(declared)


async def read_body(request: Request, schema: type[M], limits: BodyLimits, forms: bool = True) -> M:
    """Read and check a body; `forms` says whether it may be a multipart form.

    Raises: MediaTypeUnsupported, BodyTooLarge, BodyTimeout, BodyMalformed, TooManyParts, RequestInvalid.
    """
    media = request.headers.get("content-type", "").partition(";")[0].strip().lower()
    if media != JSON and not (forms and media == FORM):
        known = f"{JSON} or {FORM}" if forms else JSON
        raise MediaTypeUnsupported(f"send the body as {known}, and say so in Content-Type")
    if request.headers.get("content-encoding", "identity").lower() != "identity":
        raise MediaTypeUnsupported("send the body without Content-Encoding")
    try:
        async with asyncio.timeout(limits.seconds):
            if media == FORM:
                fields = await _read_form(request, schema, limits)
                return _checked(lambda: schema.model_validate(fields, context={"form": True}))
            text = b"".join([chunk async for chunk in _limited(request, limits.max_bytes)])
    except TimeoutError as error:
        raise BodyTimeout(f"the body did not arrive within {limits.seconds:g} seconds") from error
    # Decoding megabytes of base64 takes a while, and the event loop serves everybody.
    return await asyncio.to_thread(_checked, lambda: schema.model_validate_json(text, strict=True))


def faults_of(error: ValidationError, where: str) -> list[Fault]:
    """Pydantic's findings without the values that were sent, which may be images or names."""
    return [
        Fault(".".join([where, *map(str, found["loc"])]), found["msg"].removeprefix("Value error, "))
        for found in error.errors(include_url=False, include_context=False, include_input=False)
    ]


def _checked(parse: Callable[[], M]) -> M:
    try:
        return parse()
    except ValidationError as error:
        if error.errors(include_input=False)[0]["type"] == "json_invalid":
            raise BodyMalformed(f"the body is not JSON: {error.errors(include_input=False)[0]['msg']}") from error
        raise RequestInvalid(faults_of(error, "body")) from error


async def _limited(request: Request, max_bytes: int) -> AsyncGenerator[bytes, None]:
    total = 0
    async for chunk in request.stream():
        total += len(chunk)
        if total > max_bytes:
            raise BodyTooLarge(f"the body has more than {max_bytes} bytes, which is the limit")
        yield chunk


class _FormParser(MultiPartParser):
    """Starlette's parser, with the number of parts bounded as they arrive, and nothing ever written to disk."""

    def __init__(self, request: Request, limits: BodyLimits) -> None:
        super().__init__(request.headers, _limited(request, limits.max_bytes), max_part_size=MAX_FIELD_BYTES)
        self.spool_max_size = limits.max_bytes + 1
        self._max_parts = limits.max_parts
        self._parts = 0

    def on_part_begin(self) -> None:
        self._parts += 1
        if self._parts > self._max_parts:
            raise TooManyParts(f"the form has more than {self._max_parts} parts, which is the limit")
        super().on_part_begin()


async def _read_form(request: Request, schema: type[BaseModel], limits: BodyLimits) -> dict[str, object]:
    try:
        form = await _FormParser(request, limits).parse()
    except MultiPartException as error:
        raise BodyMalformed(f"the form cannot be read: {error.message}") from error
    except ValueError as error:  # python-multipart raises bare ones for some broken boundaries and headers
        raise BodyMalformed("the form cannot be read") from error
    try:
        return _fields(form, schema)
    finally:
        await form.close()


def _fields(form: FormData, schema: type[BaseModel]) -> dict[str, object]:
    """The form's parts by name: file parts as bytes, others as text; a list where the schema has one.

    Raises: RequestInvalid when a part of a single-valued field is repeated.
    """
    values: dict[str, object] = {}
    for name in form:
        parts = [part.file.read() if isinstance(part, UploadFile) else part for part in form.getlist(name)]
        field = schema.model_fields.get(name)
        if field is not None and get_origin(field.annotation) is tuple:
            values[name] = parts
        elif len(parts) > 1:
            raise RequestInvalid([Fault(f"body.{name}", f"is given {len(parts)} times; give it once")])
        else:
            values[name] = parts[0]
    return values
