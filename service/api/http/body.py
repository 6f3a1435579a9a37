"""Request bodies: one pydantic model for multipart forms and for JSON, with every limit checked while reading."""

from __future__ import annotations

import asyncio
import base64
import binascii
from collections.abc import AsyncGenerator, Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from typing import Annotated, Any, ClassVar, TypeVar, get_origin

from fastapi import Request as HttpRequest
from pydantic import BaseModel, BeforeValidator, ValidationError, ValidationInfo, WithJsonSchema
from pydantic_core import from_json
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
from service.runtime.executor import Overloaded
from service.runtime.shares import Shares

JSON, FORM = "application/json", "multipart/form-data"
KIB = 1024
MAX_BODIES = 512  # held at once: a small one counts as that share of the memory set aside
MAX_FAULTS = 50  # told of one request
WORDS = {
    "too_long": "takes at most {max_length}, and {actual_length} were sent",
    "too_short": "takes at least {min_length}, and {actual_length} were sent",
    "string_too_short": "must have at least {min_length} character",
    "string_too_long": "must have at most {max_length} characters",
}
"""Faults that pydantic tells of tuples and strings, in a caller's words."""

# Reading JSON holds the interpreter, and with it every other request, for a time that grows with what is in it.
# A string takes little; a value, a wrong one above all, much more.
MAX_VALUES = 512
MAX_MARKS = 64 * KIB  # commas, colons and opening brackets, which metadata may have in its text as well
MAX_ESCAPES = 1024 * KIB  # backslashes; some encoders write every slash of base64 with one
PIECE = 64 * KIB
BASE64_PIECE = 256 * KIB
STANDARD_ALPHABET = bytes.maketrans(b"-_", b"+/")
BLANKS = b" \t\r\n"


class Request(BaseModel):
    """What may be sent to a route.

    A body may have `max_text` bytes, and `max_images` of the largest images; as JSON `max_values` values.
    """

    max_text: ClassVar[int] = 16 * KIB
    max_images: ClassVar[int] = 0
    max_values: ClassVar[int] = MAX_VALUES


M = TypeVar("M", bound=Request)


def _image(value: object, info: ValidationInfo) -> bytes:
    if isinstance(value, bytes):
        return value
    if not isinstance(value, str) or (info.context or {}).get("form"):
        raise ValueError("must be an image: a file part of a form, or base64 text in JSON")
    try:
        return decode_base64(value)
    except (binascii.Error, ValueError) as error:
        raise ValueError("must be base64 of an image file; addresses and paths are never fetched") from error


def decode_base64(text: str) -> bytes:
    """The bytes that base64 stands for, decoded piece by piece, so that others get a turn.

    It may be spelt as people have it: with a `data:` prefix, in lines, in the alphabet for addresses, without padding.

    Raises:
        ValueError: It is no base64.
    """
    if text.startswith("data:"):
        head, _, text = text.partition(",")
        if not head.endswith(";base64"):
            raise ValueError("a data: address that is not in base64")
    plain = text.encode("ascii").translate(STANDARD_ALPHABET, BLANKS)
    digits = plain.rstrip(b"=")
    if len(plain) - len(digits) not in (0, -len(digits) % 4):
        raise ValueError("the padding does not fit")
    plain = digits + b"=" * (-len(digits) % 4)
    pieces = range(0, len(plain), BASE64_PIECE)
    return b"".join([base64.b64decode(plain[start : start + BASE64_PIECE], validate=True) for start in pieces])


IMAGE_SCHEMA = {"type": "string", "contentEncoding": "base64", "contentMediaType": "image/*"}

Image = Annotated[bytes, BeforeValidator(_image), WithJsonSchema(IMAGE_SCHEMA)]
"""An encoded image: a file part in a form, base64 in JSON."""


@dataclass(frozen=True, slots=True)
class BodyLimits:
    """Bounds on one body: bytes, bytes of one image, parts of a form, and seconds to arrive."""

    max_bytes: int
    max_image_bytes: int
    max_parts: int
    seconds: float

    def of(self, schema: type[Request]) -> BodyLimits:
        """The bounds of a route's body: its text, and its images in base64, if that is less than the bound of all."""
        # Base64 takes 4/3 of the bytes; in lines, each end of which JSON escapes, and with escaped slashes 9/8 of that.
        images = schema.max_images * self.max_image_bytes * 3 // 2
        return replace(self, max_bytes=min(self.max_bytes, schema.max_text + images))


class Intake:
    """Counts the bytes of bodies held at this moment, and refuses the one that would be too much.

    A caller may hold as many as are still free (`service.runtime.shares`).
    """

    def __init__(self, max_bytes: int) -> None:
        self._shares = Shares(max_bytes)

    @contextmanager
    def hold(self, caller: str, size: int) -> Iterator[None]:
        """Reserve `size` bytes until the block ends. Raises: Overloaded."""
        amount = max(size, self._shares.total // MAX_BODIES)
        if not self._shares.take(caller, amount):
            raise Overloaded("the request bodies being served fill the memory set aside for them, or this key's share")
        try:
            yield
        finally:
            self._shares.give(caller, amount)


def expected_size(request: HttpRequest, limits: BodyLimits) -> int:
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


async def read_body(request: HttpRequest, schema: type[M], limits: BodyLimits, forms: bool = True) -> M:
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
    return await asyncio.to_thread(_parse, schema, text)


def faults_of(error: ValidationError, where: str) -> list[Fault]:
    """Pydantic's findings without the values that were sent, which may be images or names."""
    errors = error.errors(include_url=False, include_input=False)
    return [Fault(".".join([where, *map(str, each["loc"])])[:200], _words(each)) for each in errors[:MAX_FAULTS]]


def _words(error: Any) -> str:
    """Say what is wrong with a field, without the value that was sent."""
    words = WORDS.get(error["type"])
    if words is None:
        return str(error["msg"]).removeprefix("Value error, ")
    return words.format(**error["ctx"])


def _parse(schema: type[M], text: bytes) -> M:
    bound_json(text, schema.max_values)
    return _checked(lambda: schema.model_validate_json(text, strict=True))


def bound_json(text: bytes, max_values: int = MAX_VALUES) -> None:
    """Refuse JSON that would take long to read, before it is read. Raises: BodyMalformed."""
    marks = escapes = 0
    for start in range(0, len(text), PIECE):
        end = start + PIECE
        marks += sum(text.count(mark, start, end) for mark in (b",", b":", b"[", b"{"))
        escapes += text.count(b"\\", start, end)
        if marks > MAX_MARKS or escapes > MAX_ESCAPES:
            raise BodyMalformed("the body has more values than any request")
    if marks > max_values:
        try:
            value = from_json(text, allow_inf_nan=False)
        except ValueError:
            return  # what is wrong with it is said by who reads it next
        if _count(value, max_values) > max_values:
            raise BodyMalformed(f"the body has more than {max_values} values, and no request has as many")


def _count(value: object, enough: int) -> int:
    """How many values JSON holds; counting stops soon after `enough`."""
    total, waiting = 0, [value]
    while waiting and total + len(waiting) <= enough:
        total += 1
        match waiting.pop():
            case list(items):
                waiting += items
            case dict(fields):
                waiting += fields.values()
    return total + len(waiting)


def _checked(parse: Callable[[], M]) -> M:
    try:
        return parse()
    except ValidationError as error:
        first = error.errors(include_url=False, include_input=False)[0]
        if first["type"] == "json_invalid":
            raise BodyMalformed(f"the body is not JSON: {first['msg']}") from None
        raise RequestInvalid(faults_of(error, "body")) from None


async def _limited(request: HttpRequest, max_bytes: int) -> AsyncGenerator[bytes, None]:
    total = 0
    async for chunk in request.stream():
        total += len(chunk)
        if total > max_bytes:
            raise BodyTooLarge(f"the body has more than {max_bytes} bytes, which is the limit")
        yield chunk


class _FormParser(MultiPartParser):
    """Starlette's parser, with the number of parts bounded as they arrive, and nothing ever written to disk."""

    def __init__(self, request: HttpRequest, schema: type[Request], limits: BodyLimits) -> None:
        super().__init__(request.headers, _limited(request, limits.max_bytes), max_part_size=schema.max_text)
        self.spool_max_size = limits.max_bytes + 1
        self._max_parts = limits.max_parts
        self._parts = 0

    def on_part_begin(self) -> None:
        self._parts += 1
        if self._parts > self._max_parts:
            raise TooManyParts(f"the form has more than {self._max_parts} parts, which is the limit")
        super().on_part_begin()


async def _read_form(request: HttpRequest, schema: type[Request], limits: BodyLimits) -> dict[str, object]:
    try:
        form = await _FormParser(request, schema, limits).parse()
    except MultiPartException as error:
        raise BodyMalformed(f"the form cannot be read: {error.message}") from error
    except ValueError as error:  # python-multipart raises bare ones for some broken boundaries and headers
        raise BodyMalformed("the form cannot be read") from error
    try:
        return _fields(form, schema)
    finally:
        await form.close()


def _fields(form: FormData, schema: type[Request]) -> dict[str, object]:
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
